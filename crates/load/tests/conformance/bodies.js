// What is sent of requests without a body, and answers that are not what the script takes them for.
import http from 'k6/http';
import { check } from 'k6';
import { row, thrown } from './row.js';

const url = __ENV.URL;
const sent = (answer) => { const { headers, body } = answer.json(); return [headers['content-length'], headers['content-encoding'], body]; };

export default function () {
  row('http.post http.put http.patch', () => [http.post(url), http.post(url, null), http.put(url), http.patch(url)].map(sent));
  row('http.post', () => [{ a: null }, { a: undefined }, { a: { b: 1, a: 'x' } }, { a: [1, [2, 3], null, { c: 1 }] }, { a: 1.5, b: true, c: NaN }].map((fields) => http.post(url, fields).json().body));
  row('http.post', () => { const bytes = new Uint8Array([104, 105, 106]); return [http.post(url, bytes).json().body, http.post(url, bytes.subarray(1)).json().body, http.post(url, bytes.buffer).json().body]; });
  row('http.get http.del http.options', () => [http.get(url), http.del(url), http.options(url), http.request('BREW', url)].map(sent));
  row('http.Params.compression', () => ['gzip', 'deflate', 'gzip, deflate'].map((compression) => sent(http.get(url, { compression }))));
  row('http.Params.compression', () => [sent(http.post(url, null, { compression: 'gzip' })), sent(http.post(url, '', { compression: 'gzip' }))[1], thrown(() => http.get(url, { compression: 'lzma' }))]);
  row('http.Response.json', () => { const text = http.get(url + '/redirect/0'); return [text.json('a'), text.json('a.b.#'), thrown(() => text.json())]; });
  row('k6.check', () => [thrown(() => check(1, { 'one::two': () => true })), check(1, { good: () => true })]);
}
