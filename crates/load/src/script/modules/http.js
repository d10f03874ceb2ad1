import { call, request as send, start } from 'springtide:runtime';

let loaded;
/** What few scripts need, loaded when one does. */
const forms = () => (loaded ??= call('load', 'springtide:forms'));

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

class Response {
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
  get ocsp() { return lazily(this, 'ocsp', { produced_at: 0, this_update: 0, next_update: 0, revoked_at: 0, revocation_reason: '', status: this.tls_version === '' ? '' : 'unknown' }); }
  get request() {
    const [method, url, headers, body, cookies] = this.#request;
    if (method === '') return lazily(this, 'request', null);
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

  html(selector) { return forms().html(this, selector); }
  submitForm(wanted) { return forms().submitForm(this, wanted); }
  clickLink(wanted) { return forms().clickLink(this, wanted); }

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

export const file = (data, filename, contentType) => forms().file(data, filename, contentType);

const isTagged = (url) => typeof url === 'object' && url !== null && typeof url.__url === 'string';

export function url(strings, ...values) {
  let whole = strings[0];
  values.forEach((value, at) => { whole += `${value}${strings[at + 1]}`; });
  return { __url: whole, name: strings.join('${}'), toString() { return whole; } };
}

/** The host's arguments of a request; without a URL that is a text, the request fails there. */
function prepared(method, target, body, params) {
  const url = typeof target === 'string' ? target : isTagged(target) ? target.__url : null;
  const [data, type] = body === null || body === undefined || typeof body === 'string' ? [body, undefined] : forms().bodyOf(body);
  return [method, url, data, params, isTagged(target) ? target.name : undefined, type];
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

export const batch = (requests) => forms().batch(requests, prepared);

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

const jarsById = (id) => Object.assign(Object.create(CookieJar.prototype), { __jar: id });
export class CookieJar {
  constructor() {
    this.__jar = call('jar.make');
    forms().dropWith(this, this.__jar);
  }
  cookiesForURL(target) { return JSON.parse(call('jar.cookies', this.__jar, String(target))); }
  set(target, name, value, settings = {}) { return call('jar.set', this.__jar, String(target), String(name), String(value), JSON.stringify(settings ?? {})); }
  clear(target) { return call('jar.clear', this.__jar, String(target), undefined); }
  delete(target, name) { return call('jar.clear', this.__jar, String(target), String(name)); }
}
export const cookieJar = () => jarsById(0);

const constants = {
  TLS_1_0: 'tls1.0', TLS_1_1: 'tls1.1', TLS_1_2: 'tls1.2', TLS_1_3: 'tls1.3',
  OCSP_STATUS_GOOD: 'good', OCSP_STATUS_REVOKED: 'revoked', OCSP_STATUS_SERVER_FAILED: 'server_failed', OCSP_STATUS_UNKNOWN: 'unknown',
  OCSP_REASON_UNSPECIFIED: 'unspecified', OCSP_REASON_KEY_COMPROMISE: 'key_compromise', OCSP_REASON_CA_COMPROMISE: 'ca_compromise',
  OCSP_REASON_AFFILIATION_CHANGED: 'affiliation_changed', OCSP_REASON_SUPERSEDED: 'superseded', OCSP_REASON_CESSATION_OF_OPERATION: 'cessation_of_operation',
  OCSP_REASON_CERTIFICATE_HOLD: 'certificate_hold', OCSP_REASON_REMOVE_FROM_CRL: 'remove_from_crl', OCSP_REASON_PRIVILEGE_WITHDRAWN: 'privilege_withdrawn', OCSP_REASON_AA_COMPROMISE: 'aa_compromise',
};
export const { TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, OCSP_STATUS_GOOD, OCSP_STATUS_REVOKED, OCSP_STATUS_SERVER_FAILED, OCSP_STATUS_UNKNOWN,
  OCSP_REASON_UNSPECIFIED, OCSP_REASON_KEY_COMPROMISE, OCSP_REASON_CA_COMPROMISE, OCSP_REASON_AFFILIATION_CHANGED, OCSP_REASON_SUPERSEDED,
  OCSP_REASON_CESSATION_OF_OPERATION, OCSP_REASON_CERTIFICATE_HOLD, OCSP_REASON_REMOVE_FROM_CRL, OCSP_REASON_PRIVILEGE_WITHDRAWN, OCSP_REASON_AA_COMPROMISE } = constants;

export default {
  request, asyncRequest, get, head, post, put, patch, del, options, batch, file, url, expectedStatuses, setResponseCallback, CookieJar, cookieJar, ...constants,
};
