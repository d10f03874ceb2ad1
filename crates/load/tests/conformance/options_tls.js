// TLS and HTTP/2.
import http from 'k6/http';
import { row, thrown } from './row.js';

const url = __ENV.TLS_URL;

export const options = {
  vus: 1,
  iterations: 2,
  insecureSkipTLSVerify: true,
  noVUConnectionReuse: true,
  tlsAuth: [{ cert: __ENV.CLIENT_CERT, key: __ENV.CLIENT_KEY }],
  tlsVersion: { min: http.TLS_1_2, max: http.TLS_1_3 },
};

export default function () {
  const first = http.get(url);
  row('option.insecureSkipTLSVerify option.tlsVersion http.Response.tls_version http.Response.tls_cipher_suite', () => [first.status, first.proto, first.tls_version, first.tls_cipher_suite.startsWith('TLS_'), first.timings.tls_handshaking > 0]);
  row('option.noVUConnectionReuse', () => [first.timings.tls_handshaking > 0, http.get(url).timings.tls_handshaking > 0]);
  row('option.tlsAuth', () => http.get(`${url}/certificate`).body);
  row('http.Response.ocsp', () => first.ocsp);
  row('http.post', () => { const { method, body } = http.post(url, 'over HTTP/2').json(); return [method, body]; });
}
