import { call, request as send } from 'springtide:runtime';

let loaded;
/** What few scripts need, loaded when one does. */
const forms = () => (loaded ??= call('load', 'springtide:forms'));

let parts;
/** What the larger parts of an answer are made with, loaded when a script asks for one. */
const answers = () => (parts ??= call('load', 'springtide:answers'));

/** What answers have beside their fields, which the host makes. */
class Response {
  json(selector) { return answers().json(this, selector); }
  html(selector) { return answers().html(this, selector); }
  submitForm(wanted) { return answers().submitForm(this, wanted); }
  clickLink(wanted) { return answers().clickLink(this, wanted); }
  toJSON() { return answers().toJSON(this); }
}
call('http.answers', Response.prototype, Object.prototype, (name, pack) => answers().part(name, pack));

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

export const asyncRequest = (method, target, body, params) => forms().later(() => prepared(String(method), target, body, params));

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

export const TLS_1_0 = 'tls1.0';
export const TLS_1_1 = 'tls1.1';
export const TLS_1_2 = 'tls1.2';
export const TLS_1_3 = 'tls1.3';
export const OCSP_STATUS_GOOD = 'good';
export const OCSP_STATUS_REVOKED = 'revoked';
export const OCSP_STATUS_SERVER_FAILED = 'server_failed';
export const OCSP_STATUS_UNKNOWN = 'unknown';
export const OCSP_REASON_UNSPECIFIED = 'unspecified';
export const OCSP_REASON_KEY_COMPROMISE = 'key_compromise';
export const OCSP_REASON_CA_COMPROMISE = 'ca_compromise';
export const OCSP_REASON_AFFILIATION_CHANGED = 'affiliation_changed';
export const OCSP_REASON_SUPERSEDED = 'superseded';
export const OCSP_REASON_CESSATION_OF_OPERATION = 'cessation_of_operation';
export const OCSP_REASON_CERTIFICATE_HOLD = 'certificate_hold';
export const OCSP_REASON_REMOVE_FROM_CRL = 'remove_from_crl';
export const OCSP_REASON_PRIVILEGE_WITHDRAWN = 'privilege_withdrawn';
export const OCSP_REASON_AA_COMPROMISE = 'aa_compromise';

export default {
  request, asyncRequest, get, head, post, put, patch, del, options, batch, file, url, expectedStatuses, setResponseCallback, CookieJar, cookieJar,
  TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, OCSP_STATUS_GOOD, OCSP_STATUS_REVOKED, OCSP_STATUS_SERVER_FAILED, OCSP_STATUS_UNKNOWN,
  OCSP_REASON_UNSPECIFIED, OCSP_REASON_KEY_COMPROMISE, OCSP_REASON_CA_COMPROMISE, OCSP_REASON_AFFILIATION_CHANGED, OCSP_REASON_SUPERSEDED,
  OCSP_REASON_CESSATION_OF_OPERATION, OCSP_REASON_CERTIFICATE_HOLD, OCSP_REASON_REMOVE_FROM_CRL, OCSP_REASON_PRIVILEGE_WITHDRAWN, OCSP_REASON_AA_COMPROMISE,
};
