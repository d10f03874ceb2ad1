// Paths into JSON, in the notation of gjson: a.b, a.0, a.#, a.#.b, a.#(b=="c").d, a.#(b>1)#, wildcards, \. and a pipe.

function parts(path) {
  const list = [];
  let part = '';
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < path.length; at += 1) {
    const sign = path[at];
    if (sign === '\\' && at + 1 < path.length) { part += depth > 0 ? sign + path[at + 1] : `\\${path[at + 1]}`; at += 1; continue; }
    if (sign === '"') quoted = !quoted;
    if (!quoted && (sign === '(' || sign === '[')) depth += 1;
    if (!quoted && (sign === ')' || sign === ']')) depth -= 1;
    if ((sign === '.' || sign === '|') && depth === 0 && !quoted) { list.push(part); part = ''; } else part += sign;
  }
  list.push(part);
  return list;
}

const plain = (part) => part.replace(/\\(.)/g, '$1');
const pattern = (text) => new RegExp(`^${text.replace(/\\(.)|[.+^${}()|[\]]/g, (sign, kept) => (kept ? `\\${kept}` : `\\${sign}`)).replace(/(?<!\\)\*/g, '.*').replace(/(?<!\\)\?/g, '.')}$`, 's');

function test(value, query) {
  const found = /^(.*?)\s*(==|!=|<=|>=|<|>|!%|%|=)\s*(.*)$/s.exec(query);
  if (!found) return pick(value, parts(query.trim())) !== undefined;
  const [, path, sign, right] = found;
  const left = path.trim() === '' ? value : pick(value, parts(path.trim()));
  if (left === undefined) return false;
  let wanted;
  try { wanted = JSON.parse(right); } catch { wanted = right; }
  switch (sign) {
    case '=': case '==': return left === wanted;
    case '!=': return left !== wanted;
    case '<': return typeof left === typeof wanted && left < wanted;
    case '<=': return typeof left === typeof wanted && left <= wanted;
    case '>': return typeof left === typeof wanted && left > wanted;
    case '>=': return typeof left === typeof wanted && left >= wanted;
    case '%': return typeof left === 'string' && pattern(String(wanted)).test(left);
    default: return typeof left === 'string' && !pattern(String(wanted)).test(left);
  }
}

function pick(value, path) {
  for (let at = 0; at < path.length; at += 1) {
    if (value === undefined || value === null) return undefined;
    const part = path[at];
    if (part.startsWith('@')) throw new Error(`json selector: the modifier ${part} is not supported`);
    if (Array.isArray(value) && part.startsWith('#')) {
      if (part === '#') {
        if (at === path.length - 1) return value.length;
        const rest = path.slice(at + 1);
        return value.map((one) => pick(one, rest)).filter((one) => one !== undefined);
      }
      const query = /^#[([](.*)[)\]](#?)$/s.exec(part);
      if (!query) return undefined;
      if (query[2] === '') { value = value.find((one) => test(one, query[1])); continue; }
      const rest = path.slice(at + 1);
      const all = value.filter((one) => test(one, query[1]));
      if (rest[0] === '#' && rest.length === 1) return all.length;
      return rest.length === 0 ? all : all.map((one) => pick(one, rest)).filter((one) => one !== undefined);
    }
    if (typeof value !== 'object') return undefined;
    if (/(?<!\\)[*?]/.test(part)) {
      const wanted = pattern(part);
      const key = Object.keys(value).find((name) => wanted.test(name));
      value = key === undefined ? undefined : value[key];
    } else {
      const key = plain(part);
      value = Object.hasOwn(value, key) ? value[key] : undefined;
    }
  }
  return value;
}

export const select = (value, selector) => pick(value, parts(selector));
