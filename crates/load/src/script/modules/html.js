import { call } from 'springtide:runtime';

export function parseHTML(text, url) {
  return new Selection(call('html.parse', String(text)), [0], undefined, url);
}

const unique = (ids) => [...new Set(ids)].sort((a, b) => a - b);

export class Selection {
  #page; #ids; #before; #url;
  constructor(page, ids, before, url) { this.#page = page; this.#ids = ids; this.#before = before; this.#url = url; }
  #of(ids) { return new Selection(this.#page, ids, this, this.#url); }
  #children(id) { return call('html.children', this.#page, id); }
  #parent(id) { return call('html.parent', this.#page, id); }
  #matches(id, test, at = 0) {
    if (test === undefined || test === null) return true;
    if (typeof test === 'string') return call('html.matches', this.#page, id, test);
    if (typeof test === 'function') return !!test(at, this.#element(id));
    if (test instanceof Selection) return test.#ids.includes(id);
    if (test instanceof Element) return Element.id(test) === id;
    return false;
  }
  #element(id) { return new Element(this.#page, id, this.#url); }
  #walk(step, until, filter) {
    const found = [];
    for (const id of this.#ids) {
      let at = step(id);
      while (at !== undefined && !(until !== undefined && this.#matches(at, until))) {
        found.push(at);
        at = step(at);
      }
    }
    return this.#of(unique(found).filter((id) => this.#matches(id, filter)));
  }
  #beside(id, offset) {
    const parent = this.#parent(id);
    if (parent === undefined) return undefined;
    const all = this.#children(parent);
    return all[all.indexOf(id) + offset];
  }
  #values(id) {
    const attribute = (name) => call('html.attribute', this.#page, id, name);
    switch (call('html.name', this.#page, id)) {
      case 'select': {
        const options = call('html.find', this.#page, [id], 'option');
        const value = (option) => call('html.attribute', this.#page, option, 'value') ?? call('html.text', this.#page, option);
        const selected = options.filter((option) => call('html.attribute', this.#page, option, 'selected') !== undefined);
        if (attribute('multiple') !== undefined) return selected.map(value);
        return selected.length > 0 ? value(selected[selected.length - 1]) : options.length > 0 ? value(options[0]) : undefined;
      }
      case 'textarea': return call('html.text', this.#page, id);
      case 'option': return attribute('value') ?? call('html.text', this.#page, id);
      case 'input': return attribute('value') ?? (['checkbox', 'radio'].includes((attribute('type') ?? '').toLowerCase()) ? 'on' : undefined);
      default: return attribute('value');
    }
  }

  find(selector) { return this.#of(call('html.find', this.#page, this.#ids, String(selector))); }
  size() { return this.#ids.length; }
  get length() { return this.#ids.length; }
  eq(index) { const id = this.#ids[index < 0 ? this.#ids.length + index : index]; return this.#of(id === undefined ? [] : [id]); }
  first() { return this.eq(0); }
  last() { return this.eq(-1); }
  slice(from, to) { return this.#of(this.#ids.slice(from, to)); }
  end() { return this.#before ?? this.#of([]); }
  add(selector) { const more = typeof selector === 'string' ? call('html.find', this.#page, [0], selector) : selector instanceof Selection ? selector.#ids : [Element.id(selector)]; return this.#of(unique([...this.#ids, ...more])); }
  get(index) { const id = this.#ids[index < 0 ? this.#ids.length + index : index]; return id === undefined ? undefined : this.#element(id); }
  toArray() { return this.#ids.map((id) => this.#of([id])); }
  each(visit) { this.#ids.forEach((id, at) => visit(at, this.#element(id))); return this; }
  map(change) { return this.#ids.map((id, at) => change(at, this.#of([id]))); }
  filter(test) { return this.#of(this.#ids.filter((id, at) => this.#matches(id, test, at))); }
  not(test) { return this.#of(this.#ids.filter((id, at) => !this.#matches(id, test, at))); }
  is(test) { return this.#ids.some((id, at) => this.#matches(id, test, at)); }
  has(selector) { return this.#of(this.#ids.filter((id) => call('html.find', this.#page, [id], selector).length > 0)); }
  index(selector) {
    if (this.#ids.length === 0) return -1;
    if (selector === undefined) { const parent = this.#parent(this.#ids[0]); return parent === undefined ? 0 : this.#children(parent).indexOf(this.#ids[0]); }
    if (typeof selector === 'string') return call('html.find', this.#page, [0], selector).indexOf(this.#ids[0]);
    return this.#ids.indexOf(selector instanceof Selection ? selector.#ids[0] : Element.id(selector));
  }
  children(filter) { return this.#of(unique(this.#ids.flatMap((id) => this.#children(id))).filter((id) => this.#matches(id, filter))); }
  contents() { return this.#of(unique(this.#ids.flatMap((id) => call('html.contents', this.#page, id)))); }
  parent(filter) { return this.#of(unique(this.#ids.map((id) => this.#parent(id)).filter((id) => id !== undefined && this.#matches(id, filter)))); }
  parents(filter) { return this.#walk((id) => this.#parent(id), undefined, filter); }
  parentsUntil(until, filter) { return this.#walk((id) => this.#parent(id), until, filter); }
  closest(selector) {
    const found = [];
    for (let id of this.#ids) {
      while (id !== undefined && !this.#matches(id, selector)) id = this.#parent(id);
      if (id !== undefined) found.push(id);
    }
    return this.#of(unique(found));
  }
  siblings(filter) { return this.#of(unique(this.#ids.flatMap((id) => { const parent = this.#parent(id); return parent === undefined ? [] : this.#children(parent).filter((one) => one !== id); })).filter((id) => this.#matches(id, filter))); }
  next(filter) { return this.#of(this.#ids.map((id) => this.#beside(id, 1)).filter((id) => id !== undefined && this.#matches(id, filter))); }
  prev(filter) { return this.#of(this.#ids.map((id) => this.#beside(id, -1)).filter((id) => id !== undefined && this.#matches(id, filter))); }
  nextAll(filter) { return this.#walk((id) => this.#beside(id, 1), undefined, filter); }
  prevAll(filter) { return this.#walk((id) => this.#beside(id, -1), undefined, filter); }
  nextUntil(until, filter) { return this.#walk((id) => this.#beside(id, 1), until, filter); }
  prevUntil(until, filter) { return this.#walk((id) => this.#beside(id, -1), until, filter); }
  text() { return this.#ids.map((id) => call('html.text', this.#page, id)).join(''); }
  html() { return this.#ids.length === 0 ? undefined : call('html.inner', this.#page, this.#ids[0]); }
  attr(name, otherwise) { return (this.#ids.length === 0 ? undefined : call('html.attribute', this.#page, this.#ids[0], String(name))) ?? otherwise; }
  val() { return this.#ids.length === 0 ? undefined : this.#values(this.#ids[0]); }
  data(name) {
    const read = (text) => {
      if (text === undefined) return undefined;
      if (/^(true|false|null|-?\d+(\.\d+)?|[{["].*)$/s.test(text)) { try { return JSON.parse(text); } catch { return text; } }
      return text;
    };
    if (this.#ids.length === 0) return undefined;
    if (name !== undefined) return read(this.attr(`data-${String(name).replace(/[A-Z]/g, (sign) => `-${sign.toLowerCase()}`)}`));
    const all = {};
    for (const [key, value] of call('html.attributes', this.#page, this.#ids[0])) {
      if (key.startsWith('data-')) all[key.slice(5).replace(/-([a-z])/g, (_, sign) => sign.toUpperCase())] = read(value);
    }
    return all;
  }
  serializeArray() {
    const fields = call('html.find', this.#page, this.#ids, 'input, select, textarea')
      .concat(this.#ids.filter((id) => ['input', 'select', 'textarea'].includes(call('html.name', this.#page, id))));
    const list = [];
    for (const id of fields) {
      const attribute = (name) => call('html.attribute', this.#page, id, name);
      const name = attribute('name');
      const type = (attribute('type') ?? '').toLowerCase();
      if (!name || attribute('disabled') !== undefined || ['submit', 'button', 'image', 'reset', 'file'].includes(type)) continue;
      if (['checkbox', 'radio'].includes(type) && attribute('checked') === undefined) continue;
      const value = this.#values(id);
      for (const one of Array.isArray(value) ? value : [value ?? '']) list.push({ name, value: one });
    }
    return list;
  }
  serializeObject() {
    const object = {};
    for (const { name, value } of this.serializeArray()) object[name] = value;
    return object;
  }
  serialize() {
    const escaped = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`).replace(/%20/g, '+');
    const object = this.serializeObject();
    return Object.keys(object).sort().map((name) => `${escaped(name)}=${escaped(object[name])}`).join('&');
  }
}

export class Element {
  #page; #id; #url;
  constructor(page, id, url) { this.#page = page; this.#id = id; this.#url = url; }
  static id(element) { return element.#id; }
  #one(id) { return id === undefined ? undefined : new Element(this.#page, id, this.#url); }
  selection() { return new Selection(this.#page, [this.#id], undefined, this.#url); }
  nodeName() { return call('html.name', this.#page, this.#id) || '#text'; }
  nodeType() { return call('html.type', this.#page, this.#id); }
  nodeValue() { return this.nodeType() === 1 ? undefined : call('html.text', this.#page, this.#id); }
  id() { return this.getAttribute('id') ?? ''; }
  className() { return this.getAttribute('class') ?? ''; }
  classList() { return this.className().split(/\s+/).filter(Boolean); }
  getAttribute(name) { return call('html.attribute', this.#page, this.#id, String(name)); }
  hasAttribute(name) { return this.getAttribute(name) !== undefined; }
  hasAttributes() { return call('html.attributes', this.#page, this.#id).length > 0; }
  attributes() { return Object.fromEntries(call('html.attributes', this.#page, this.#id).map(([name, value]) => [name, { name, value }])); }
  textContent() { return call('html.text', this.#page, this.#id); }
  innerHTML() { return call('html.inner', this.#page, this.#id); }
  outerHTML() { return call('html.outer', this.#page, this.#id); }
  toString() { return this.innerHTML(); }
  children() { return call('html.children', this.#page, this.#id).map((id) => this.#one(id)); }
  childNodes() { return call('html.contents', this.#page, this.#id).map((id) => this.#one(id)); }
  childElementCount() { return call('html.children', this.#page, this.#id).length; }
  hasChildNodes() { return call('html.contents', this.#page, this.#id).length > 0; }
  firstChild() { return this.#one(call('html.contents', this.#page, this.#id)[0]); }
  firstElementChild() { return this.#one(call('html.children', this.#page, this.#id)[0]); }
  lastChild() { return this.#one(call('html.contents', this.#page, this.#id).at(-1)); }
  lastElementChild() { return this.#one(call('html.children', this.#page, this.#id).at(-1)); }
  parentElement() { return this.#one(call('html.parent', this.#page, this.#id)); }
  parentNode() { return this.parentElement(); }
  nextElementSibling() { return this.selection().next().get(0); }
  previousElementSibling() { return this.selection().prev().get(0); }
  querySelector(selector) { return this.selection().find(selector).get(0); }
  querySelectorAll(selector) { const found = this.selection().find(selector); return found.toArray().map((one) => one.get(0)); }
  matches(selector) { return call('html.matches', this.#page, this.#id, String(selector)); }
  href() { return this.getAttribute('href') === undefined ? '' : this.#url === undefined ? this.getAttribute('href') : call('url.join', this.#url, this.getAttribute('href')); }
  name() { return this.getAttribute('name') ?? ''; }
  value() { return this.selection().val(); }
  type() { return this.getAttribute('type') ?? ''; }
}
export default { parseHTML, Selection, Element };
