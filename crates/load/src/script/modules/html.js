import { call } from 'springtide:runtime';
import { members } from 'springtide:elements';

export function parseHTML(text, url) {
  return new Selection(call('html.parse', String(text)), [0], undefined, url);
}

const unique = (ids) => [...new Set(ids)].sort((a, b) => a - b);
const inOrder = (ids) => [...new Set(ids)];

export class Selection {
  #page; #ids; #before; #url;
  constructor(page, ids, before, url) { this.#page = page; this.#ids = ids; this.#before = before; this.#url = url; }
  #of(ids) { return new Selection(this.#page, ids, this, this.#url); }
  #children(id) { return call('html.children', this.#page, id); }
  #parent(id) { return call('html.parent', this.#page, id); }
  #matches(id, test, at = 0) {
    if (test === undefined || test === null) return true;
    if (typeof test === 'string') return call('html.matches', this.#page, id, test);
    if (typeof test === 'function') return !!test(at, this.#of([id]));
    if (test instanceof Selection) return test.#ids.includes(id);
    if (test instanceof Element) return Element.id(test) === id;
    throw new TypeError(`a ${typeof test} cannot be used as a selector`);
  }
  #element(id) { return elementOf(this.#page, id, this.#url); }
  /** Steps on from each element until `until`; those found nearest come first. */
  #walk(step, until, filter) {
    const found = [];
    for (const id of this.#ids) {
      let at = step(id);
      while (at !== undefined && !(until !== undefined && until !== null && this.#matches(at, until))) {
        found.push(at);
        at = step(at);
      }
    }
    return this.#of(inOrder(found).filter((id) => this.#matches(id, filter)));
  }
  #beside(id, offset) {
    const parent = this.#parent(id);
    if (parent === undefined) return undefined;
    const all = this.#children(parent);
    return all[all.indexOf(id) + offset];
  }
  #value(id) {
    const attribute = (name) => call('html.attribute', this.#page, id, name);
    const ofOption = (option) => call('html.attribute', this.#page, option, 'value') ?? call('html.inner', this.#page, option);
    switch (call('html.name', this.#page, id)) {
      case 'select': {
        const selected = call('html.find', this.#page, [id], 'option[selected]').map(ofOption);
        return attribute('multiple') !== undefined ? selected : selected[0] ?? '';
      }
      case 'textarea': return call('html.inner', this.#page, id);
      case 'option': return ofOption(id);
      case 'input': return attribute('value') ?? (['checkbox', 'radio'].includes((attribute('type') ?? '').toLowerCase()) ? 'on' : '');
      case 'button': return attribute('value') ?? '';
      default: return undefined;
    }
  }

  find(test) {
    if (test instanceof Selection || test instanceof Element) {
      return this.#of(call('html.find', this.#page, this.#ids, '*').filter((id) => this.#matches(id, test)));
    }
    return this.#of(call('html.find', this.#page, this.#ids, String(test)));
  }
  size() { return this.#ids.length; }
  eq(index) { const id = this.#ids[index < 0 ? this.#ids.length + index : index]; return this.#of(id === undefined ? [] : [id]); }
  first() { return this.eq(0); }
  last() { return this.eq(-1); }
  slice(from, to) { return this.#of(this.#ids.slice(from, to)); }
  end() { return this.#before ?? this.#of([]); }
  add(selector) {
    const more = typeof selector === 'string' ? call('html.find', this.#page, [0], selector) : selector instanceof Selection ? selector.#ids : [Element.id(selector)];
    return this.#of(inOrder([...this.#ids, ...more]));
  }
  get(index) {
    if (index === undefined) return this.#ids.map((id) => this.#element(id));
    const id = this.#ids[index < 0 ? this.#ids.length + index : index];
    return id === undefined ? undefined : this.#element(id);
  }
  toArray() { return this.#ids.map((id) => this.#of([id])); }
  each(visit) { this.#ids.forEach((id, at) => visit(at, this.#element(id))); return this; }
  map(change) { return this.#ids.map((id, at) => change(at, this.#of([id]))); }
  filter(test) { return this.#of(this.#ids.filter((id, at) => this.#matches(id, test, at))); }
  not(test) { return this.#of(this.#ids.filter((id, at) => !this.#matches(id, test, at))); }
  is(test) { return this.#ids.some((id, at) => this.#matches(id, test, at)); }
  has(test) { return this.#of(this.#ids.filter((id) => this.#of([id]).find(test).size() > 0)); }
  index(selector) {
    if (this.#ids.length === 0) return -1;
    if (selector === undefined) { const parent = this.#parent(this.#ids[0]); return parent === undefined ? 0 : this.#children(parent).indexOf(this.#ids[0]); }
    if (typeof selector === 'string') return call('html.find', this.#page, [0], selector).indexOf(this.#ids[0]);
    return this.#ids.indexOf(selector instanceof Selection ? selector.#ids[0] : Element.id(selector));
  }
  children(filter) { return this.#of(unique(this.#ids.flatMap((id) => this.#children(id))).filter((id) => this.#matches(id, filter))); }
  contents() { return this.#of(unique(this.#ids.flatMap((id) => call('html.contents', this.#page, id)))); }
  parent(filter) { return this.#of(inOrder(this.#ids.map((id) => this.#parent(id)).filter((id) => id !== undefined && this.#matches(id, filter)))); }
  parents(filter) { return this.#walk((id) => this.#parent(id), undefined, filter); }
  parentsUntil(until, filter) { return this.#walk((id) => this.#parent(id), until, filter); }
  closest(selector) {
    const found = [];
    for (let id of this.#ids) {
      while (id !== undefined && !this.#matches(id, selector)) id = this.#parent(id);
      if (id !== undefined) found.push(id);
    }
    return this.#of(inOrder(found));
  }
  siblings(filter) {
    const beside = (id) => { const parent = this.#parent(id); return parent === undefined ? [] : this.#children(parent).filter((one) => one !== id); };
    return this.#of(inOrder(this.#ids.flatMap(beside)).filter((id) => this.#matches(id, filter)));
  }
  next(filter) { return this.#of(this.#ids.map((id) => this.#beside(id, 1)).filter((id) => id !== undefined && this.#matches(id, filter))); }
  prev(filter) { return this.#of(this.#ids.map((id) => this.#beside(id, -1)).filter((id) => id !== undefined && this.#matches(id, filter))); }
  nextAll(filter) { return this.#walk((id) => this.#beside(id, 1), undefined, filter); }
  prevAll(filter) { return this.#walk((id) => this.#beside(id, -1), undefined, filter); }
  nextUntil(until, filter) { return this.#walk((id) => this.#beside(id, 1), until, filter); }
  prevUntil(until, filter) { return this.#walk((id) => this.#beside(id, -1), until, filter); }
  text() { return this.#ids.map((id) => call('html.text', this.#page, id)).join(''); }
  html() { return this.#ids.length === 0 ? '' : call('html.inner', this.#page, this.#ids[0]); }
  attr(name, otherwise) { return (this.#ids.length === 0 ? undefined : call('html.attribute', this.#page, this.#ids[0], String(name))) ?? otherwise; }
  val() { return this.#ids.length === 0 ? undefined : this.#value(this.#ids[0]); }
  data(name) {
    const read = (text) => {
      if (text === undefined || text === 'null') return undefined;
      if (/^(true|false|-?\d+(\.\d+)?|[{["].*)$/s.test(text)) { try { return JSON.parse(text); } catch { return text; } }
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
  /** The fields of a form with a name; as in k6, boxes and radio buttons are never among them. */
  serializeArray() {
    const names = 'input, select, textarea, keygen';
    const inside = call('html.find', this.#page, this.#ids, names);
    const fields = unique([...inside, ...this.#ids.filter((id) => this.#matches(id, names))]);
    const list = [];
    for (const id of fields) {
      const name = call('html.attribute', this.#page, id, 'name');
      const type = (call('html.attribute', this.#page, id, 'type') ?? '').toLowerCase();
      if (!name || ['checkbox', 'radio', 'submit', 'button', 'image', 'reset', 'file'].includes(type)) continue;
      list.push({ name, value: this.#value(id) });
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
    return Object.keys(object).sort().flatMap((name) => [object[name] ?? []].flat().map((value) => `${escaped(name)}=${escaped(value)}`)).join('&');
  }
}

const TEXT = 3;
const COMMENT = 8;
const DOCUMENT = 9;

export class Element {
  #page; #id; #url;
  constructor(page, id, url) { this.#page = page; this.#id = id; this.#url = url; }
  static id(element) { return element.#id; }
  #one(id) { return id === undefined ? undefined : elementOf(this.#page, id, this.#url); }
  #call(name, ...more) { return call(`html.${name}`, this.#page, this.#id, ...more); }
  #beside(offset) {
    const above = this.#call('above');
    if (above === undefined) return undefined;
    const all = call('html.contents', this.#page, above);
    return this.#one(all[all.indexOf(this.#id) + offset]);
  }
  selection() { return new Selection(this.#page, [this.#id], undefined, this.#url); }
  /** The whole page; not for scripts. */
  page() { return new Selection(this.#page, [0], undefined, this.#url); }
  /** An attribute with an address; not for scripts. */
  resolved(attribute) {
    const value = this.getAttribute(attribute);
    return value === undefined ? '' : this.#url === undefined ? value : call('url.join', this.#url, value);
  }
  nodeName() {
    const type = this.nodeType();
    return type === TEXT ? '#text' : type === COMMENT ? '#comment' : type === DOCUMENT ? '#document' : this.#call('name');
  }
  nodeType() { return this.#call('type'); }
  nodeValue() { const type = this.nodeType(); return type === TEXT || type === COMMENT ? this.#call('text') : undefined; }
  id() { return this.getAttribute('id') ?? ''; }
  className() { return this.getAttribute('class'); }
  classList() { return (this.className() ?? '').split(/\s+/).filter(Boolean); }
  getAttribute(name) { return this.#call('attribute', String(name)); }
  #attribute(name, value) { return { name, namespaceURI: '', localName: '', prefix: '', owner_element: this, value }; }
  getAttributeNode(name) { const value = this.getAttribute(name); return value === undefined ? undefined : this.#attribute(String(name), value); }
  hasAttribute(name) { return this.getAttribute(name) !== undefined; }
  hasAttributes() { return this.#call('attributes').length > 0; }
  attributes() { return Object.fromEntries(this.#call('attributes').map(([name, value]) => [name, this.#attribute(name, value)])); }
  textContent() { return this.#call('text'); }
  innerHTML() { return this.#call('inner'); }
  toString() { return this.nodeType() === 1 ? '[object html.Node]' : `[object ${this.nodeName()}]`; }
  children() { return this.#call('children').map((id) => this.#one(id)); }
  childNodes() { return this.#call('contents').map((id) => this.#one(id)); }
  childElementCount() { return this.#call('children').length; }
  hasChildNodes() { return this.#call('contents').length > 0; }
  firstChild() { return this.#one(this.#call('contents')[0]); }
  firstElementChild() { return this.#one(this.#call('children')[0]); }
  lastChild() { return this.#one(this.#call('contents').at(-1)); }
  lastElementChild() { return this.#one(this.#call('children').at(-1)); }
  parentElement() { return this.#one(this.#call('parent')); }
  parentNode() { return this.#one(this.#call('above')); }
  ownerDocument() { return this.#one(0); }
  nextSibling() { return this.#beside(1); }
  previousSibling() { return this.#beside(-1); }
  nextElementSibling() { return this.selection().next().get(0); }
  previousElementSibling() { return this.selection().prev().get(0); }
  querySelector(selector) { return this.selection().find(selector).get(0); }
  querySelectorAll(selector) { return this.selection().find(selector).get(); }
  getElementsByClassName(name) { return this.querySelectorAll(`.${name}`); }
  getElementsByTagName(name) { return this.querySelectorAll(String(name)); }
  matches(selector) { return this.#call('matches', String(selector)); }
  contains(other) {
    for (let at = other instanceof Element ? call('html.above', this.#page, other.#id) : undefined; at !== undefined; at = call('html.above', this.#page, at)) {
      if (at === this.#id) return true;
    }
    return false;
  }
  isSameNode(other) { return other instanceof Element && other.#page === this.#page && other.#id === this.#id; }
  isEqualNode(other) { return other instanceof Element && other.innerHTML() === this.innerHTML(); }
  lang() { return this.getAttribute('lang'); }
  namespaceURI() { return 'http://www.w3.org/1999/xhtml'; }
  isDefaultNamespace() { return true; }
}

/** A class of elements of one kind: those members, beside what all elements have. */
function kindOf(readers) {
  const kind = class extends Element {};
  for (const [name, read] of Object.entries(readers)) {
    Object.defineProperty(kind.prototype, name, { value() { return read(this); }, writable: true, configurable: true });
  }
  return kind;
}
const kinds = {};
function elementOf(page, id, url) {
  const name = call('html.name', page, id);
  if (!Object.hasOwn(members, name)) return new Element(page, id, url);
  return new (kinds[name] ??= kindOf(members[name]))(page, id, url);
}
export default { parseHTML, Selection, Element };
