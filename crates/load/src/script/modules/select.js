// Paths into JSON, in the notation of gjson: a.b, a.0, a.#, a.#.b, a.#(b=="c").d, a.#(b>1)#, wildcards, \. and a pipe,
// several paths at once ([a,b] and {name:a,b}), and modifiers (@reverse, @keys and others).

/** What stands up to the first separator that is in no bracket or quote: [part, separator, rest]. */
function cut(text, separators) {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '\\') { at += 1; continue; }
    if (sign === '"') quoted = !quoted;
    if (quoted) continue;
    if ('([{'.includes(sign)) depth += 1;
    if (')]}'.includes(sign)) depth -= 1;
    if (depth === 0 && separators.includes(sign)) return [text.slice(0, at), sign, text.slice(at + 1)];
  }
  return [text, '', ''];
}

const plain = (part) => part.replace(/\\(.)/g, '$1');
const pattern = (text) => new RegExp(`^${text.replace(/\\(.)|[.+^${}()|[\]]/g, (sign, kept) => (kept ? `\\${kept}` : `\\${sign}`)).replace(/(?<!\\)\*/g, '.*').replace(/(?<!\\)\?/g, '.')}$`, 's');

function test(value, query) {
  // A query may hold another one, with a sign of its own.
  const [path] = cut(query, '=!<>%');
  const found = /^(==|!=|<=|>=|<|>|!%|%|=)\s*(.*)$/s.exec(query.slice(path.length));
  if (!found) return pick(value, query.trim()) !== undefined;
  const [, sign, right] = found;
  const left = path.trim() === '' ? value : pick(value, path.trim());
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

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const settings = (text) => { try { return JSON.parse(text); } catch { return {}; } };
const MODIFIERS = {
  this: (value) => value,
  valid: (value) => value,
  ugly: (value) => value,
  pretty: (value) => value,
  reverse: (value) => (Array.isArray(value) ? [...value].reverse() : isObject(value) ? Object.fromEntries(Object.entries(value).reverse()) : value),
  keys: (value) => (isObject(value) ? Object.keys(value) : Array.isArray(value) ? value.map(() => null) : []),
  values: (value) => (isObject(value) ? Object.values(value) : Array.isArray(value) ? value : [value]),
  flatten: (value, more) => (Array.isArray(value) ? value.flat(settings(more).deep === true ? Infinity : 1) : value),
  join: (value) => (Array.isArray(value) ? Object.assign({}, ...value.filter(isObject)) : value),
  tostr: (value) => JSON.stringify(value),
  fromstr: (value) => { try { return JSON.parse(value); } catch { return undefined; } },
  group: (value) => {
    if (!isObject(value)) return undefined;
    const rows = [];
    for (const [name, list] of Object.entries(value)) if (Array.isArray(list)) list.forEach((one, at) => { (rows[at] ??= {})[name] = one; });
    return rows;
  },
};

function modified(value, part) {
  const [name, , more] = cut(part.slice(1), ':');
  const modify = MODIFIERS[name];
  if (modify === undefined) throw new Error(`json selector: the modifier @${name} is not supported`);
  return modify(value, more);
}

/** `[a,b]` or `{name:a,b}`: several paths into one value. */
function several(value, part) {
  const found = [];
  for (let rest = part.slice(1, -1); rest !== '';) {
    const [one, , more] = cut(rest, ',');
    rest = more;
    const [name, colon, path] = part[0] === '{' ? cut(one, ':') : ['', '', one];
    const chosen = colon === '' && part[0] === '{' ? one : path;
    const result = pick(value, chosen);
    const last = chosen.split(/[.|]/).at(-1);
    if (result !== undefined) found.push([colon === '' ? (/^[\w-]+$/.test(last) ? last : '_') : name.replace(/^"(.*)"$/, '$1'), result]);
  }
  return part[0] === '[' ? found.map(([, result]) => result) : Object.fromEntries(found);
}

/** Goes on with `rest` from a list: a dot means each of its elements, a pipe the list itself. */
function onEach(list, separator, rest) {
  if (separator === '') return list;
  if (separator === '|') return pick(list, rest);
  const [first, next, after] = cut(rest, '|');
  const each = list.map((one) => pick(one, first)).filter((one) => one !== undefined);
  return next === '' ? each : pick(each, after);
}

function pick(value, path) {
  if (value === undefined) return undefined;
  const [part, separator, rest] = cut(path, '.|');
  const goOn = (found) => (separator === '' || found === undefined ? found : pick(found, rest));
  if (part.startsWith('@')) return goOn(modified(value, part));
  if (/^(\[.*\]|\{.*\})$/s.test(part)) return goOn(several(value, part));
  if (value === null || typeof value !== 'object') return undefined;
  if (Array.isArray(value) && part.startsWith('#')) {
    if (part === '#') return separator === '' || separator === '|' ? goOn(value.length) : onEach(value, separator, rest);
    const query = /^#[([](.*)[)\]](#?)$/s.exec(part);
    if (!query) return undefined;
    if (query[2] === '') return goOn(value.find((one) => test(one, query[1])));
    return onEach(value.filter((one) => test(one, query[1])), separator, rest);
  }
  if (/(?<!\\)[*?]/.test(part)) {
    const wanted = pattern(part);
    const key = Object.keys(value).find((name) => wanted.test(name));
    return goOn(key === undefined ? undefined : value[key]);
  }
  const key = plain(part);
  return goOn(Object.hasOwn(value, key) && key !== 'length' ? value[key] : undefined);
}

export const select = pick;
