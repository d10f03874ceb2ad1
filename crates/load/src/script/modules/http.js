import { call, request as send, start } from 'springtide:runtime';

const canonical = (name) => name.toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());

/** Headers come as `name\nvalue\n…`; values of one name are joined. */
function headersOf(flat) {
  const headers = {};
  if (flat === '') return headers;
  const parts = flat.split('\n');
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const name = canonical(parts[at]);
    headers[name] = name in headers ? `${headers[name]}, ${parts[at + 1]}` : parts[at + 1];
  }
  return headers;
}

/** A property that is made when it is first asked for. */
function lazily(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
  return value;
}

export class Response {
  #headers; #cookies; #request;
  constructor(url, status, statusText, proto, ip, port, headers, cookies, body, timings, tlsVersion, cipher, error, code, request) {
    this.remote_ip = ip;
    this.remote_port = port;
    this.url = url;
    this.status = status;
    this.status_text = statusText;
    this.proto = proto;
    this.body = body;
    this.timings = timings;
    this.tls_version = tlsVersion;
    this.tls_cipher_suite = cipher;
    this.error = error;
    this.error_code = code;
    this.#headers = headers;
    this.#cookies = cookies;
    this.#request = request;
  }

  get headers() { return lazily(this, 'headers', headersOf(this.#headers)); }
  set headers(value) { lazily(this, 'headers', value); }
  get cookies() { return lazily(this, 'cookies', this.#cookies === '' ? {} : JSON.parse(this.#cookies)); }
  set cookies(value) { lazily(this, 'cookies', value); }
  get ocsp() { return lazily(this, 'ocsp', { produced_at: 0, this_update: 0, next_update: 0, revoked_at: 0, revocation_reason: '', status: '' }); }
  get request() {
    const [method, url, headers, body, cookies] = this.#request;
    const lists = {};
    for (const [name, value] of Object.entries(headersOf(headers))) lists[name] = [value];
    return lazily(this, 'request', { method, url, headers: lists, body: body ?? '', cookies: cookies === '' ? {} : JSON.parse(cookies) });
  }

  json(selector) {
    if (this.body === null || this.body === undefined) {
      throw new Error('the body is null so we can\'t transform it to JSON - this likely was because of a request error getting the response');
    }
    const text = typeof this.body === 'string' ? this.body : call('text.decode', this.body);
    let value;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new SyntaxError(`cannot parse json due to an error: ${error.message}`);
    }
    return selector === undefined ? value : call('load', 'springtide:select').select(value, String(selector));
  }

  html(selector) {
    if (this.body === null || this.body === undefined) {
      throw new Error('the body is null so we can\'t transform it to HTML - this likely was because of a request error getting the response');
    }
    const text = typeof this.body === 'string' ? this.body : call('text.decode', this.body);
    const page = call('load', 'k6/html').parseHTML(text, this.url);
    return selector === undefined ? page : page.find(selector);
  }

  submitForm({ formSelector = 'form', submitSelector = '[type="submit"]', fields = {}, params } = {}) {
    const form = this.html(formSelector);
    if (form.size() === 0) throw new Error(`no form found for selector '${formSelector}' in response '${this.url}'`);
    const method = (form.attr('method') ?? 'GET').toUpperCase();
    const action = form.attr('action');
    const values = form.serializeObject();
    const submit = form.find(submitSelector);
    const name = submit.attr('name');
    if (name !== undefined) values[name] = submit.attr('value') ?? '';
    Object.assign(values, fields);
    const target = action === undefined || action === '' ? this.url : call('url.join', this.url, action);
    if (method === 'GET') {
      const query = form_encoded(values);
      return request('GET', query === '' ? target : `${target}${target.includes('?') ? '&' : '?'}${query}`, null, params);
    }
    return request(method, target, values, params);
  }

  clickLink({ selector = 'a[href]', params } = {}) {
    const link = this.html(selector);
    if (link.size() === 0) throw new Error(`no element found for selector '${selector}' in response '${this.url}'`);
    const href = link.attr('href');
    if (href === undefined) throw new Error(`no valid href attribute value found on element '${selector}' in response '${this.url}'`);
    return request('GET', call('url.join', this.url, href), null, params);
  }

  toJSON() {
    const { remote_ip, remote_port, url, status, status_text, proto, body, timings, tls_version, tls_cipher_suite, error, error_code } = this;
    return { remote_ip, remote_port, url, status, status_text, proto, headers: this.headers, cookies: this.cookies, body, timings, tls_version, tls_cipher_suite, ocsp: this.ocsp, error, error_code, request: this.request };
  }
}
for (const name of ['headers', 'cookies', 'ocsp', 'request']) {
  Object.defineProperty(Response.prototype, name, { ...Object.getOwnPropertyDescriptor(Response.prototype, name), enumerable: true });
}

call('http.response', (url, status, statusText, proto, ip, port, headers, cookies, body, duration, blocked, connecting, handshaking, sending, waiting, receiving, tlsVersion, cipher, error, code, method, sentUrl, sentHeaders, sentBody, sentCookies) => new Response(
  url, status, statusText, proto, ip, port, headers, cookies, body,
  { duration, blocked, looking_up: 0, connecting, tls_handshaking: handshaking, sending, waiting, receiving },
  tlsVersion, cipher, error, code, [method, sentUrl, sentHeaders, sentBody, sentCookies],
));

const escaped = (text) => encodeURIComponent(String(text)).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`).replace(/%20/g, '+');
const field = (value) => (value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value));

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
export const file = (data, filename, contentType) => new FileData(
  data,
  filename === undefined || filename === '' ? `${Date.now()}000000` : String(filename),
  contentType === undefined || contentType === '' ? 'application/octet-stream' : String(contentType),
);

/** The body as the host takes it, and the content type that follows from it. */
function bodyOf(body) {
  if (body === null || body === undefined) return [null, undefined];
  if (typeof body === 'string') return [body, undefined];
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return [body, undefined];
  if (typeof body !== 'object') return [String(body), undefined];
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

export function url(strings, ...values) {
  let whole = strings[0];
  values.forEach((value, at) => { whole += `${value}${strings[at + 1]}`; });
  return { __url: whole, name: strings.join('${}'), toString() { return whole; } };
}

function prepared(method, target, body, params) {
  if (target === undefined || target === null) throw new TypeError(`http.${method.toLowerCase()}: no URL was given`);
  if (body !== null && body !== undefined && typeof body !== 'string') {
    const [data, type] = bodyOf(body);
    return [method, isTagged(target) ? target.__url : String(target), data, params, isTagged(target) ? target.name : undefined, type];
  }
  if (typeof target === 'string') return [method, target, body, params, undefined, undefined];
  return [method, isTagged(target) ? target.__url : String(target), body, params, isTagged(target) ? target.name : undefined, undefined];
}

export function request(method, target, body, params) {
  if (typeof target === 'string' && (body === null || body === undefined || typeof body === 'string')) {
    return send(String(method), target, body, params, undefined, undefined);
  }
  return send(...prepared(String(method), target, body, params));
}

export function asyncRequest(method, target, body, params) {
  return new Promise((resolve, reject) => {
    start((failed, value) => (failed ? reject(value) : resolve(value)), 'http.start', ...prepared(String(method), target, body, params));
  });
}

export const get = (target, params, ...more) => (more.length > 0 || params === null ? request('GET', target, params, more[0]) : request('GET', target, null, params));
export const head = (target, params) => request('HEAD', target, null, params);
export const post = (target, body, params) => request('POST', target, body, params);
export const put = (target, body, params) => request('PUT', target, body, params);
export const patch = (target, body, params) => request('PATCH', target, body, params);
export const del = (target, body, params) => request('DELETE', target, body, params);
export const options = (target, body, params) => request('OPTIONS', target, body, params);

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

export function expectedStatuses(...statuses) {
  const ranges = statuses.map((status) => {
    if (Number.isInteger(status)) return [status, status];
    if (status !== null && typeof status === 'object' && Number.isInteger(status.min) && Number.isInteger(status.max)) return [status.min, status.max];
    throw new TypeError('argument to expectedStatuses must be an integer or an object like {min:100, max:329}');
  });
  if (ranges.length === 0) throw new TypeError('no arguments');
  return { __statuses: ranges };
}
export function setResponseCallback(callback) {
  if (callback !== null && callback?.__statuses === undefined) throw new TypeError('unsupported argument, expected http.expectedStatuses');
  call('http.callback', callback);
}

let jars;
const jarsById = (id) => Object.assign(Object.create(CookieJar.prototype), { __jar: id });
export class CookieJar {
  constructor() {
    this.__jar = call('jar.make');
    jars ??= new FinalizationRegistry((id) => call('jar.drop', id));
    jars.register(this, this.__jar);
  }
  cookiesForURL(target) { return JSON.parse(call('jar.cookies', this.__jar, String(target))); }
  set(target, name, value, settings = {}) { return call('jar.set', this.__jar, String(target), String(name), String(value), JSON.stringify(settings ?? {})); }
  clear(target) { return call('jar.clear', this.__jar, String(target), undefined); }
  delete(target, name) { return call('jar.clear', this.__jar, String(target), String(name)); }
}
export const cookieJar = () => jarsById(0);

const constants = {
  TLS_1_0: 'tls1.0', TLS_1_1: 'tls1.1', TLS_1_2: 'tls1.2', TLS_1_3: 'tls1.3', SSL_3_0: 'ssl3.0',
  OCSP_STATUS_GOOD: 'good', OCSP_STATUS_REVOKED: 'revoked', OCSP_STATUS_SERVER_FAILED: 'server_failed', OCSP_STATUS_UNKNOWN: 'unknown',
  OCSP_REASON_UNSPECIFIED: 'unspecified', OCSP_REASON_KEY_COMPROMISE: 'key_compromise', OCSP_REASON_CA_COMPROMISE: 'ca_compromise',
  OCSP_REASON_AFFILIATION_CHANGED: 'affiliation_changed', OCSP_REASON_SUPERSEDED: 'superseded', OCSP_REASON_CESSATION_OF_OPERATION: 'cessation_of_operation',
  OCSP_REASON_CERTIFICATE_HOLD: 'certificate_hold', OCSP_REASON_REMOVE_FROM_CRL: 'remove_from_crl', OCSP_REASON_PRIVILEGE_WITHDRAWN: 'privilege_withdrawn', OCSP_REASON_AA_COMPROMISE: 'aa_compromise',
};
export const { TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, SSL_3_0, OCSP_STATUS_GOOD, OCSP_STATUS_REVOKED, OCSP_STATUS_SERVER_FAILED, OCSP_STATUS_UNKNOWN,
  OCSP_REASON_UNSPECIFIED, OCSP_REASON_KEY_COMPROMISE, OCSP_REASON_CA_COMPROMISE, OCSP_REASON_AFFILIATION_CHANGED, OCSP_REASON_SUPERSEDED,
  OCSP_REASON_CESSATION_OF_OPERATION, OCSP_REASON_CERTIFICATE_HOLD, OCSP_REASON_REMOVE_FROM_CRL, OCSP_REASON_PRIVILEGE_WITHDRAWN, OCSP_REASON_AA_COMPROMISE } = constants;

export default {
  request, asyncRequest, get, head, post, put, patch, del, options, batch, file, url, expectedStatuses, setResponseCallback, CookieJar, cookieJar, Response, ...constants,
};
