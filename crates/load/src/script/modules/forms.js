// Bodies that are not texts, batches, pages, requests that are not waited for: the parts of k6/http that few scripts need.
import { call } from 'springtide:runtime';
import { start } from 'springtide:later';
import { request } from 'k6/http';

const escaped = (text) => encodeURIComponent(String(text)).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`).replace(/%20/g, '+');
/** A field's text, as Go writes what is none. */
const field = (value) => {
  if (value === null || value === undefined) return '<nil>';
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `[${value.map(field).join(' ')}]`;
  return `map[${Object.keys(value).sort().map((name) => `${name}:${field(value[name])}`).join(' ')}]`;
};

function form_encoded(values) {
  return Object.keys(values).sort().flatMap((name) => (Array.isArray(values[name]) ? values[name] : [values[name]])
    .map((value) => `${escaped(name)}=${escaped(field(value))}`)).join('&');
}

class FileData {
  constructor(data, filename, contentType) {
    this.data = data;
    this.filename = filename;
    this.content_type = contentType;
  }
}
export function file(data, filename, contentType) {
  if (typeof data !== 'string' && !(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) {
    throw new TypeError('http.file: the content is neither a string nor an ArrayBuffer');
  }
  return new FileData(
    data,
    filename === undefined || filename === '' ? `${Date.now()}000000` : String(filename),
    contentType === undefined || contentType === '' ? 'application/octet-stream' : String(contentType),
  );
}

/** The body as the host takes it, and the content type that follows from it. */
function bodyOf(body) {
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return [body, undefined];
  // The host says that this is no body.
  if (typeof body !== 'object' || Array.isArray(body)) return [body, undefined];
  if (body instanceof FileData) return [body.data, undefined];
  if (typeof body.body === 'function' && typeof body.boundary === 'string') return [body.body(), `multipart/form-data; boundary=${body.boundary}`];
  const files = Object.keys(body).some((name) => body[name] instanceof FileData || (Array.isArray(body[name]) && body[name].some((value) => value instanceof FileData)));
  if (!files) return [form_encoded(body), 'application/x-www-form-urlencoded'];
  const boundary = call('hex', call('random.bytes', 30));
  const quoted = (text) => text.replace(/[\\"]/g, '\\$&');
  const parts = [];
  for (const name of Object.keys(body)) {
    for (const value of Array.isArray(body[name]) ? body[name] : [body[name]]) {
      if (value instanceof FileData) {
        parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"; filename="${quoted(value.filename)}"\r\nContent-Type: ${value.content_type}\r\n\r\n`, value.data, '\r\n');
      } else {
        parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"\r\n\r\n${field(value)}\r\n`);
      }
    }
  }
  parts.push(`--${boundary}--\r\n`);
  return [call('bytes.join', parts), `multipart/form-data; boundary=${boundary}`];
}

const isTagged = (url) => typeof url === 'object' && url !== null && typeof url.__url === 'string';

/** The host's arguments of a request; without a URL that is a text, the request fails there. */
export function prepared(method, target, body, params) {
  const url = typeof target === 'string' ? target : isTagged(target) ? target.__url : null;
  const [data, type] = body === null || body === undefined || typeof body === 'string' ? [body, undefined] : bodyOf(body);
  return [method, url, data, params, isTagged(target) ? target.name : undefined, type];
}

/** A promise of the answer to a request. */
export const later = (method, target, body, params) => new Promise((resolve, reject) => {
  start((failed, value) => (failed ? reject(value) : resolve(value)), 'http.start', ...prepared(method, target, body, params));
});

export function batch(requests) {
  if (requests === null || typeof requests !== 'object') throw new TypeError('http.batch: an array or an object of requests is expected');
  const keys = Object.keys(requests);
  const orders = keys.map((key) => {
    const one = requests[key];
    if (typeof one === 'string' || isTagged(one)) return prepared('GET', one, null, undefined);
    if (Array.isArray(one)) {
      const [method, target, body, params] = one;
      return prepared(String(method).toUpperCase(), target, body, params);
    }
    if (one === null || typeof one !== 'object' || one.url === undefined) throw new TypeError(`http.batch: request ${key} has no url`);
    return prepared(String(one.method ?? 'GET').toUpperCase(), one.url, one.body, one.params);
  });
  const answers = call('http.batch', orders);
  if (Array.isArray(requests)) return answers;
  return Object.fromEntries(keys.map((key, at) => [key, answers[at]]));
}

let jars;
/** Lets the host forget a cookie jar when the script does. */
export function dropWith(jar, id) {
  jars ??= new FinalizationRegistry((gone) => call('jar.drop', gone));
  jars.register(jar, id);
}

export function html(response, selector) {
  if (response.body === null || response.body === undefined) {
    throw new Error('the body is null so we can\'t transform it to HTML - this likely was because of a request error getting the response');
  }
  const text = typeof response.body === 'string' ? response.body : call('text.decode', response.body);
  const page = call('load', 'k6/html').parseHTML(text, response.url);
  return selector === undefined ? page : page.find(selector);
}

export function submitForm(response, { formSelector = 'form', submitSelector = '[type="submit"]', fields = {}, params } = {}) {
  const form = response.html(formSelector);
  if (form.size() === 0) throw new Error(`no form found for selector '${formSelector}' in response '${response.url}'`);
  const method = (form.attr('method') ?? 'GET').toUpperCase();
  const action = form.attr('action');
  const values = form.serializeObject();
  const submit = form.find(submitSelector);
  const name = submit.attr('name');
  if (name !== undefined) values[name] = submit.attr('value') ?? '';
  Object.assign(values, fields);
  const target = action === undefined || action === '' ? response.url : call('url.join', response.url, action);
  if (method === 'GET') {
    const query = form_encoded(values);
    return request('GET', query === '' ? target : `${target}${target.includes('?') ? '&' : '?'}${query}`, null, params);
  }
  return request(method, target, values, params);
}

export function clickLink(response, { selector = 'a[href]', params } = {}) {
  const link = response.html(selector);
  if (link.size() === 0) throw new Error(`no element found for selector '${selector}' in response '${response.url}'`);
  const href = link.attr('href');
  if (href === undefined) throw new Error(`no valid href attribute value found on element '${selector}' in response '${response.url}'`);
  return request('GET', call('url.join', response.url, href), null, params);
}
