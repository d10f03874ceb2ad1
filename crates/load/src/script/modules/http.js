import { call } from 'springtide:runtime';

let loaded;
/** What few scripts need, loaded when one does. */
const forms = () => (loaded ??= call('load', 'springtide:forms'));

export const file = (data, filename, contentType) => forms().file(data, filename, contentType);

export function url(strings, ...values) {
  let whole = strings[0];
  values.forEach((value, at) => { whole += `${value}${strings[at + 1]}`; });
  return { __url: whole, name: strings.join('${}'), toString() { return whole; } };
}

export const request = call('http.sender', undefined);
export const get = call('http.sender', 'GET');
export const head = call('http.sender', 'HEAD');
export const post = call('http.sender', 'POST');
export const put = call('http.sender', 'PUT');
export const patch = call('http.sender', 'PATCH');
export const del = call('http.sender', 'DELETE');
export const options = call('http.sender', 'OPTIONS');

export const asyncRequest = (method, target, body, params) => forms().later(String(method), target, body, params);
export const batch = (requests) => forms().batch(requests);

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
