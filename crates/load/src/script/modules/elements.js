// What elements of one kind have beside what all elements have: names of members, and how each is read.

const text = (attribute, otherwise = '') => (element) => element.getAttribute(attribute) ?? otherwise;
const flag = (attribute) => (element) => element.hasAttribute(attribute);
const whole = (attribute, otherwise = 0) => (element) => {
  const value = element.getAttribute(attribute);
  return value !== undefined && /^[+-]?\d+$/.test(value.trim()) ? Number(value) : otherwise;
};
const number = (attribute, otherwise = 0) => (element) => {
  const value = Number.parseFloat(element.getAttribute(attribute));
  return Number.isNaN(value) ? otherwise : value;
};
const choice = (attribute, known, otherwise) => (element) => {
  const value = (element.getAttribute(attribute) ?? '').toLowerCase();
  return known.includes(value) ? value : otherwise;
};
/** An attribute with an address, resolved where the page's own is known. */
const address = (attribute) => (element) => element.resolved(attribute);
const words = (attribute) => (element) => (element.getAttribute(attribute) ?? '').split(/\s+/).filter(Boolean);
const all = (selector) => (element) => element.querySelectorAll(selector);
const one = (selector) => (element) => element.querySelector(selector);
const crossOrigin = (element) => {
  const value = element.getAttribute('crossorigin');
  return value === undefined ? undefined : value === 'use-credentials' ? value : 'anonymous';
};
const content = (element) => element.textContent();
const value = (element) => element.selection().val() ?? '';

const ENCODINGS = ['multipart/form-data', 'text/plain'];
const URL_ENCODED = 'application/x-www-form-urlencoded';

/** The form that an element belongs to: the one that it names, or the one around it. */
function form(element) {
  const id = element.getAttribute('form');
  if (id !== undefined) return element.page().find(`form[id="${id}"]`).get(0);
  return element.selection().closest('form').get(0);
}
const around = (selector) => (element) => element.selection().closest(selector).get(0);
function labels(element) {
  const id = element.id();
  return id === '' ? [] : element.page().find(`label[for="${id}"]`).get();
}
/** What a button says of its form, or else the form itself. */
const ofForm = (attribute) => (element) => element.getAttribute(`form${attribute}`) ?? form(element)?.getAttribute(attribute) ?? '';
const submission = {
  form, labels,
  formAction: (element) => (element.hasAttribute('formaction') ? element.resolved('formaction') : form(element)?.resolved('action') ?? ''),
  formEnctype: (element) => (ENCODINGS.includes(ofForm('enctype')(element)) ? ofForm('enctype')(element) : URL_ENCODED),
  formMethod: (element) => (ofForm('method')(element).toLowerCase() === 'post' ? 'post' : 'get'),
  formNoValidate: (element) => element.hasAttribute('formnovalidate') || (form(element)?.hasAttribute('novalidate') ?? false),
  formTarget: ofForm('target'),
};

function parts(element) {
  const [, scheme = '', user = '', host = '', path = '', query = '', hash = ''] = /^(?:([A-Za-z][\w+.-]*):)?(?:\/\/(?:([^/?#@]*)@)?([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s.exec(element.resolved('href')) ?? [];
  const [, name = host, port = ''] = /^(.*):(\d*)$/.exec(host) ?? [];
  const [username, password = ''] = user.split(':').map(decodeURIComponent);
  const usual = { http: '80', https: '443', ftp: '21' }[scheme] === port;
  return { scheme, username, password, host: usual ? name : host, full: host, name, port, path, query, hash };
}
const link = {
  accessKey: text('accesskey'), download: text('download'), href: address('href'), hrefLang: text('hreflang'), referrerPolicy: text('referrerpolicy'),
  rel: text('rel'), relList: words('rel'), target: text('target'), text: content, type: text('type'),
  hash: (element) => { const { hash } = parts(element); return hash === '' ? '' : `#${hash}`; },
  host: (element) => parts(element).host,
  hostname: (element) => parts(element).name,
  origin: (element) => { const { scheme, full } = parts(element); return scheme === '' ? '' : `${scheme}://${full}`; },
  password: (element) => parts(element).password,
  pathname: (element) => parts(element).path,
  port: (element) => parts(element).port,
  protocol: (element) => parts(element).scheme || ':',
  search: (element) => { const { query } = parts(element); return query === '' ? '' : `?${query}`; },
  username: (element) => parts(element).username,
};
const media = {
  autoplay: flag('autoplay'), controls: flag('controls'), crossOrigin, currentSrc: address('src'), defaultMuted: flag('muted'), loop: flag('loop'),
  mediaGroup: text('mediagroup'), muted: flag('muted'), preload: choice('preload', ['auto', 'metadata', 'none'], 'auto'), src: address('src'), textTracks: all('track'),
};
const change = { cite: text('cite'), datetime: text('datetime') };
const field = {
  accessKey: text('accesskey'), autofocus: flag('autofocus'), disabled: flag('disabled'), name: text('name'), tabIndex: whole('tabindex'),
};
const among = (holder, members) => (element) => {
  const siblings = element.selection().closest(holder).find(members).get() ?? [];
  return Math.max(0, siblings.findIndex((sibling) => sibling.isSameNode(element)));
};
const cell = { cellIndex: among('tr', 'td, th'), colSpan: whole('colspan', 1), headers: text('headers'), rowSpan: whole('rowspan', 1) };
const section = { rows: all('tr') };
const selected = (element) => element.querySelectorAll('option[selected]');
const progress = (otherwise) => (element) => (element.hasAttribute('value') ? number('value')(element) / number('max', 1)(element) : otherwise);

export const members = {
  a: link,
  area: link,
  base: { href: address('href'), target: text('target') },
  button: { ...field, ...submission, type: choice('type', ['button', 'menu', 'reset'], 'submit'), value: text('value') },
  canvas: { height: whole('height', 150), width: whole('width', 150) },
  col: { span: whole('span', 1) },
  data: { value: text('value') },
  datalist: { options: all('option') },
  del: change,
  embed: { height: text('height'), src: address('src'), type: text('type'), width: text('width') },
  fieldset: { disabled: flag('disabled'), elements: all('input, select, button, textarea'), form, name: text('name'), type: () => 'fieldset', validity: () => undefined },
  form: {
    acceptCharset: text('accept-charset'), action: address('action'), autocomplete: choice('autocomplete', ['off'], 'on'),
    elements: all('input, select, button, textarea, fieldset'), encoding: choice('enctype', ENCODINGS, URL_ENCODED), enctype: choice('enctype', ENCODINGS, URL_ENCODED),
    length: (element) => element.querySelectorAll('input, select, button, textarea, fieldset').length,
    method: choice('method', ['post'], 'get'), name: text('name'), noValidate: flag('novalidate'), target: text('target'),
  },
  iframe: { allowfullscreen: flag('allowfullscreen'), height: text('height'), name: text('name'), referrerPolicy: text('referrerpolicy'), src: address('src'), width: text('width') },
  img: {
    alt: text('alt'), crossOrigin, currentSrc: address('src'), height: whole('height'), isMap: flag('ismap'), name: text('name'), referrerPolicy: text('referrerpolicy'),
    sizes: text('sizes'), src: address('src'), srcset: text('srcset'), useMap: text('usemap'), width: whole('width'),
  },
  input: {
    ...field, ...submission, accept: text('accept'), alt: text('alt'), autocomplete: choice('autocomplete', ['off'], 'on'), checked: flag('checked'),
    defaultChecked: flag('checked'), defaultValue: text('value'), dirName: text('dirname'), height: text('height'),
    list: (element) => (element.hasAttribute('list') ? element.page().find(`datalist[id="${element.getAttribute('list')}"]`).get(0) : undefined),
    max: text('max'), maxLength: whole('maxlength', -1), min: text('min'), multiple: flag('multiple'), pattern: text('pattern'), placeholder: text('placeholder'),
    readonly: flag('readonly'), required: flag('required'), size: whole('size'), src: address('src'), step: text('step'), type: text('type', 'text'), value: text('value'), width: text('width'),
  },
  ins: change,
  keygen: { autofocus: flag('autofocus'), challenge: text('challenge'), disabled: flag('disabled'), form, keytype: choice('keytype', ['dsa', 'ec'], 'RSA'), labels, name: text('name'), type: () => 'keygen' },
  label: {
    control: (element) => (element.hasAttribute('for') ? element.page().find(`[id="${element.getAttribute('for')}"]`).get(0) : undefined), form, htmlFor: text('for'),
  },
  legend: { accessKey: text('accesskey'), form },
  li: { type: text('type'), value: whole('value') },
  link: { crossOrigin, href: address('href'), hreflang: text('hreflang'), media: text('media'), referrerPolicy: text('referrerpolicy'), rel: text('rel'), relList: words('rel'), target: text('target'), type: text('type') },
  map: {
    areas: all('area'), images: (element) => element.page().find(`img[usemap="#${element.getAttribute('name')}"], object[usemap="#${element.getAttribute('name')}"]`).get(), name: text('name'),
  },
  meta: { content: text('content'), httpEquiv: text('http-equiv', 'content-type'), name: text('name') },
  meter: { high: number('high'), labels, low: number('low'), max: number('max'), min: number('min'), optimum: number('optimum') },
  object: {
    data: address('data'), form, height: text('height'), name: text('name'), tabIndex: whole('tabindex'), type: text('type'), typeMustMatch: flag('typemustmatch'), useMap: text('usemap'), width: text('width'),
  },
  ol: { reversed: flag('reversed'), start: whole('start'), type: text('type', '1') },
  optgroup: { disabled: flag('disabled'), label: text('label') },
  option: {
    defaultSelected: flag('selected'), disabled: (element) => element.hasAttribute('disabled') || element.selection().closest('optgroup').is('[disabled]'),
    form: around('form'), index: among('select, datalist', 'option'), label: (element) => element.getAttribute('label') ?? element.textContent(),
    selected: flag('selected'), text: content, value: (element) => element.getAttribute('value') ?? element.innerHTML(),
  },
  output: { defaultValue: content, form, htmlFor: text('for'), labels, name: text('name'), type: () => 'output', value: content },
  param: { name: text('name'), value: text('value') },
  pre: { name: text('name'), value: text('value') },
  progress: { labels, max: number('max', 1), position: progress(-1), value: progress(0) },
  quote: { cite: text('cite') },
  script: {
    async: flag('async'), charset: text('charset'), crossOrigin: text('crossorigin'), defer: flag('defer'), noModule: flag('nomodule'), src: address('src'), text: content, type: text('type'),
  },
  select: {
    autofocus: flag('autofocus'), disabled: flag('disabled'), form, labels, length: (element) => element.querySelectorAll('option').length, multiple: flag('multiple'),
    name: text('name'), options: all('option'), required: flag('required'), selectedIndex: (element) => element.querySelectorAll('option').findIndex((option) => option.hasAttribute('selected')),
    selectedOptions: selected, size: whole('size', 1), tabIndex: whole('tabindex'), type: (element) => (element.hasAttribute('multiple') ? 'select-multiple' : 'select'),
    value: (element) => { const [first] = selected(element); return first === undefined ? '' : value(first); },
  },
  source: { keySystem: text('keysystem'), media: text('media'), sizes: text('sizes'), src: address('src'), srcset: text('srcset'), type: text('type') },
  style: { media: text('media'), type: text('type', 'text/css') },
  table: { caption: one('caption'), rows: all('tr'), sortable: flag('sortable'), tBodies: all('tbody'), tFoot: one('tfoot'), tHead: one('thead') },
  tbody: section,
  td: cell,
  textarea: {
    accessKey: text('accesskey'), autocapitalize: choice('autocapitalize', ['none', 'off', 'characters', 'words'], 'sentences'), autocomplete: choice('autocomplete', ['off'], 'on'),
    cols: whole('cols'), defaultValue: text('value'), form, labels, length: whole('length'), maxLength: whole('maxlength'), placeholder: text('placeholder'),
    readOnly: flag('readonly'), required: flag('required'), rows: whole('rows'), tabIndex: whole('tabindex'), type: () => 'textarea', value: text('value'), wrap: choice('wrap', ['hard', 'off'], 'soft'),
  },
  tfoot: section,
  th: { ...cell, abbr: text('abbr'), scope: choice('scope', ['row', 'col', 'colgroup', 'rowgroup'], ''), sorted: flag('sorted') },
  thead: section,
  time: { datetime: text('datetime') },
  title: { text: content },
  tr: { cells: all('td, th'), rowIndex: among('table', 'tr'), sectionRowIndex: among('thead, tbody, tfoot', 'tr') },
  track: {
    default: flag('default'), kind: choice('kind', ['captions', 'descriptions', 'chapters', 'metadata'], 'subtitle'), label: text('label'), src: address('src'), srclang: text('srclang'),
  },
  ul: { type: text('type') },
  video: media,
  audio: media,
};
