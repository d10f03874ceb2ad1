// The module `k6/http`: functions, requests' parameters, answers.
// json
// csv
// rows: output.json output.csv
import http from 'k6/http';
import * as all from 'k6/http';
import { row, later, thrown } from './row.js';

const url = __ENV.URL;
const short = (text) => String(text).split(url).join('URL');
const seen = (answer) => { const { method, path, query, body, headers } = answer.json(); return { method, path, query, body, type: headers['content-type'] }; };
const shownType = (value) => typeof value;
const inInit = thrown(() => http.get(url));

export default async function () {
  row('http.request', () => [inInit, seen(http.request('GET', url + '/a?b=c')), seen(http.request('POST', url, 'text')), seen(http.request('BREW', url))]);
  row('http.get', () => seen(http.get(url + '/get')));
  row('http.head', () => { const answer = http.head(url + '/head'); return [answer.status, answer.body, answer.request.method]; });
  row('http.post', () => [seen(http.post(url, 'words')), seen(http.post(url, { a: 1, b: 'x y', c: ['1', '2'], d: true, 'ä': '&=' })), seen(http.post(url)), seen(http.post(url, null)), seen(http.post(url, {}))]);
  row('http.post', () => [seen(http.post(url, new Uint8Array([65, 66]).buffer)), seen(http.post(url, JSON.stringify({ a: 1 }), { headers: { 'Content-Type': 'application/json' } }))]);
  row('http.put', () => seen(http.put(url, { a: 1 })));
  row('http.patch', () => seen(http.patch(url, 'p')));
  row('http.del', () => [seen(http.del(url)), seen(http.del(url, 'body'))]);
  row('http.options', () => seen(http.options(url, 'o')));
  row('http.batch', () => http.batch([url + '/1', ['POST', url + '/2', 'b'], { method: 'PUT', url: url + '/3', body: { c: 1 } }, ['GET', url + '/4', null, { headers: { a: 'b' } }]]).map(seen));
  row('http.batch', () => { const answers = http.batch({ one: url + '/1', two: { method: 'GET', url: url + '/2', params: { tags: { of: 'batch' } } } }); return [Object.keys(answers).sort(), seen(answers.two)]; });
  row('http.batch', () => [http.batch([]), thrown(() => http.batch()), http.batch([url + '/status/500', 'http://127.0.0.1:1/']).map((answer) => [answer.status, answer.error_code])]);
  await later('http.asyncRequest', async () => [seen(await http.asyncRequest('GET', url + '/later')), seen(await http.asyncRequest('POST', url, { a: 'b' }))]);
  await later('http.asyncRequest', async () => (await http.asyncRequest('GET', 'http://127.0.0.1:1/')).error_code);
  await later('http.asyncRequest', () => http.asyncRequest('GET', 'http://127.0.0.1:1/', null, { throw: true }).then(() => 'no', (error) => typeof error));
  row('http.url', () => { const answer = http.get(http.url`${url}/items/${5}/${'x'}`); return [answer.status, short(answer.url), short(answer.request.url)]; });
  row('http.file http.FileData', () => { const file = http.file('data', 'a.txt', 'text/plain'); return [file.data, file.filename, file.content_type, typeof http.file('x').filename, http.file('x').content_type, http.file(new Uint8Array([1]).buffer, 'b').data]; });
  row('http.file', () => { const sent = http.post(url, { f: http.file('data', 'a.txt', 'text/plain'), g: 'h', n: 5 }).json(); const boundary = sent.headers['content-type'].split('boundary=')[1]; return [sent.headers['content-type'].split(';')[0], sent.body.split(boundary).join('B').split('\r\n').sort()]; });
  row('http.expectedStatuses', () => [shownType(http.expectedStatuses(200)), thrown(() => http.expectedStatuses()), thrown(() => http.expectedStatuses('x')), thrown(() => http.expectedStatuses({ min: 1 }))]);
  row('http.setResponseCallback', () => { http.setResponseCallback(http.expectedStatuses(404, { min: 500, max: 599 })); http.get(url + '/status/404'); http.get(url + '/status/500'); http.get(url + '/status/200'); http.setResponseCallback(null); http.get(url + '/status/418'); http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 })); return thrown(() => http.setResponseCallback(5)); });
  row('http.TLS_1_2', () => Object.keys(http).filter((name) => name.startsWith('TLS_')).sort().map((name) => [name, http[name]]));
  row('http.OCSP_STATUS_GOOD', () => Object.keys(http).filter((name) => name.startsWith('OCSP_')).sort().map((name) => [name, http[name]]));
  row('life.import', () => [Object.keys(all).filter((name) => name !== 'default').sort().join() === Object.keys(http).sort().join(), Object.keys(http).sort()]);

  // Parameters.
  row('http.Params.headers', () => http.get(url, { headers: { 'X-One': '1', 'x-two': 2, Accept: 'a/b' } }).json().headers);
  row('http.Params.headers', () => http.get(url, { headers: { 'X-Trimmed': '  a b \t' } }).json().headers);
  row('http.Params.headers', () => http.post(url, 'x', { headers: { Host: 'other.test', 'User-Agent': 'mine' } }).request.headers);
  row('http.Params.headers', () => [thrown(() => http.get(url, { headers: 'x' })), thrown(() => http.get(url, { headers: { 'bad name': 'x' } })), http.get(url, { headers: null }).status]);
  row('http.Params.cookies', () => http.get(url, { cookies: { a: 'b', c: { value: 'd', replace: true } } }).json().headers.cookie.split('; ').sort());
  row('http.Params.tags', () => http.get(url + '/tagged', { tags: { kind: 'tagged', name: 'a name', number: 5 } }).status);
  row('http.Params.tags', () => thrown(() => http.get(url, { tags: { bad: { a: 1 } } })));
  row('http.Params.auth', () => http.get(url.replace('://', '://user:password@') + '/basic', { auth: 'basic' }).json().headers.authorization);
  row('http.Params.auth', () => { const answer = http.get(url.replace('://', '://user:secret@') + '/digest', { auth: 'digest' }); return [answer.status, answer.body]; });
  row('http.Params.timeout', () => [http.get(url + '/delay/2000', { timeout: 50 }).error_code, http.get(url + '/delay/2000', { timeout: '60ms' }).error, thrown(() => http.get(url, { timeout: 'soon' }))]);
  row('http.Params.redirects', () => [0, 1, 5].map((redirects) => { const answer = http.get(url + '/redirect/3', { redirects }); return [answer.status, short(answer.url), answer.headers.Location, answer.body]; }));
  row('http.Params.redirects', () => [301, 302, 303, 307, 308].map((status) => { const answer = http.post(`${url}/moved/${status}`, 'kept?', { headers: { 'X-Kept': 'yes' } }); const sent = answer.json(); return [status, answer.status, sent.method, sent.body, sent.headers['content-type'], sent.headers['x-kept']]; }));
  row('http.Params.redirects', () => [301, 303, 307].map((status) => http.post(`${url}/moved/${status}`, { a: 'b' }).json().headers));
  row('http.Params.redirects', () => { const there = `${url.replace('127.0.0.1', 'localhost')}/echo`; return [http.get(`${url}/sent-on?to=${there}`, { headers: { Cookie: 'own=1', Authorization: 'Bearer x', 'X-Kept': 'yes' } }).json().headers, http.get(`${url}/sent-on?to=${there}`, { headers: { Referer: 'mine' }, cookies: { a: 'b' } }).json().headers]; });
  row('http.Params.redirects', () => ['::', 'ftp://x/', '%zz'].map((to) => { const answer = http.get(`${url}/sent-on?to=${to}`); return [answer.status, answer.error, answer.error_code, short(answer.url)]; }));
  row('http.Params.responseType', () => [http.get(url + '/bytes', { responseType: 'binary' }).body, http.get(url + '/redirect/0', { responseType: 'text' }).body, http.get(url, { responseType: 'none' }).body, thrown(() => http.get(url, { responseType: 'other' }))]);
  row('http.Params.compression', () => ['gzip', 'deflate', 'gzip, deflate'].map((compression) => { const sent = http.post(url, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaa', { compression }).json(); return sent.headers['content-encoding']; }).concat(thrown(() => http.post(url, 'a', { compression: 'lzma' }))));
  row('http.Params.responseCallback', () => [http.get(url + '/status/503', { responseCallback: http.expectedStatuses(503) }).status, http.get(url + '/status/200', { responseCallback: null }).status, thrown(() => http.get(url, { responseCallback: 1 }))]);
  row('http.Params.jar', () => { const jar = new http.CookieJar(); jar.set(url, 'of', 'a jar'); return [http.get(url, { jar }).json().headers.cookie, http.get(url).json().headers.cookie]; });
  row('http.Params.throw option.throw', () => [thrown(() => http.get('http://127.0.0.1:1/', { throw: true })), http.get('http://127.0.0.1:1/', { throw: false }).error_code]);
  row('http.Params', () => [http.get(url, null).status, http.get(url, undefined).status, http.get(url, {}).status]);

  // Answers.
  const answer = http.get(url + '/answer?q=1');
  row('http.Response.status http.Response.status_text http.Response.proto', () => [answer.status, answer.status_text, answer.proto, [204, 404, 503].map((status) => http.get(`${url}/status/${status}`).status_text)]);
  row('http.Response.body', () => [typeof answer.body, http.get(url + '/redirect/0').body, http.get(url + '/status/204').body]);
  row('http.Response.headers', () => [answer.headers['Content-Type'], answer.headers['X-Two'], Object.keys(answer.headers).includes('Server')]);
  row('http.Response.url http.Response.request', () => [short(answer.url), answer.request.method, short(answer.request.url), answer.request.body, answer.request.cookies, Object.keys(answer.request.headers)]);
  row('http.Response.request', () => { const { request } = http.post(url, { a: 'b' }, { cookies: { x: 'y' }, headers: { 'X-A': 'b' } }); delete request.headers['User-Agent']; return [request.body, request.cookies, request.headers]; });
  row('http.Response.request', () => { const { request } = http.post(url + '/moved/302', 'first'); return [request.method, short(request.url), request.body]; });
  row('http.Response.remote_ip http.Response.remote_port', () => [answer.remote_ip, url.endsWith(`:${answer.remote_port}`)]);
  row('http.Response.timings', () => { const t = answer.timings; return [Object.keys(t).sort(), Object.keys(t).every((name) => t[name] >= 0), Math.abs(t.duration - t.sending - t.waiting - t.receiving) < 0.01, t.connecting]; });
  row('http.Response.timings', () => { const t = http.get(url + '/delay/50').timings; return [t.waiting > 45, t.duration >= t.waiting]; });
  row('http.Response.error http.Response.error_code', () => ['http://127.0.0.1:1/', 'http://nobody.invalid/', 'nonsense', 'ftp://x/', url + '/status/404', url + '/status/500', url + '/status/302'].map((bad) => { let r; try { r = http.get(bad); } catch (e) { return 'threw'; } return [r.status, r.error_code, r.error.replace(/lookup nobody.invalid.*$/, 'lookup nobody.invalid'), r.body, short(r.url)]; }));
  row('http.Response.error http.Response.error_code', () => [` ${url}/`, `${url}/%zz`, `${url}/#%z`, '::', '1a:b'].map((bad) => { const r = http.get(bad); return [r.status, r.error_code, r.error, r.url]; }));
  row('http.Response.error http.Response.error_code', () => [url.replace('http:', 'https:'), __ENV.TLS_URL].map((bad) => { const r = http.get(bad); return [r.status, r.error_code, r.error]; }));
  row('http.get', () => [http.get(`${url}/a\\b?c=\\d`).json().path, http.get(`${url}/%4f?a=%zz`).json().query]);
  row('http.Response.tls_version http.Response.tls_cipher_suite http.Response.ocsp', () => [answer.tls_version, answer.tls_cipher_suite, answer.ocsp]);
  row('http.Response.json', () => [answer.json('method'), answer.json('list.#'), answer.json('list.1.name'), answer.json('list.#.n'), answer.json('list.#(name=="b").n'), answer.json('list.#(n>0)#.name'), answer.json('nothing'), answer.json('headers').host === undefined, answer.json('*ath'), answer.json('list.0')]);
  row('http.Response.json', () => [thrown(() => http.get(url + '/redirect/0').json()), thrown(() => http.get(url, { responseType: 'none' }).json()), http.get(url, { responseType: 'binary' }).json('method')]);
  row('http.Response.json', () => ['list.#.name|0', 'list.@reverse.0.n', 'list.#(name%"a*").n', 'list.{n:#}', '[method,path]', 'list.@this.#', 'headers.@keys.#', '{m:method}', 'list.#(n!=1)#|#'].map((path) => { try { return answer.json(path); } catch (error) { return 'threw'; } }));
  row('http.Response.json', () => { const lists = http.post(`${url}/mirror`, JSON.stringify({ a: [{ n: ['x', 'y'], k: [{ id: 1 }, { id: 2 }] }, { n: ['z'], k: [{ id: 3 }] }] })); return ['a.#(n.#(=="x")).n', 'a.#(n.#(=="x"))#.n', 'a.#(k.#(id==2))#|0.n', 'a.#(k.#(id>1)#)#.n.0', 'a.#(n.#).n.0'].map((path) => lists.json(path)); });
  row('http.file', () => [thrown(() => http.file()), thrown(() => http.file(5, 'x')), thrown(() => http.file(null)), http.file('x', 'y').filename]);
  row('http.Response.json http.Response.html http.Response.submitForm http.Response.clickLink', () => { const { json } = answer; const { html, submitForm, clickLink } = http.get(url + '/page'); const copy = { ...answer, more: 1 }; return [json('method'), html('h1').text(), submitForm().status, thrown(() => clickLink({ selector: '#none' })), copy.json('method'), Object.keys(answer), typeof answer.toJSON]; });
  row('http.Response.html', () => { const page = http.get(url + '/page'); return [page.html().find('h1').text(), page.html('li').size(), page.html().find('title').text()]; });
  row('http.Response.submitForm', () => { const page = http.get(url + '/page'); return [seen(page.submitForm()), seen(page.submitForm({ formSelector: 'form', fields: { who: 'you & me' }, submitSelector: '[name=go]' })), thrown(() => page.submitForm({ formSelector: '#none' }))]; });
  row('http.Response.clickLink', () => { const page = http.get(url + '/page'); return [seen(page.clickLink()), seen(page.clickLink({ selector: 'a', params: { headers: { 'X-A': 'b' } } })), thrown(() => page.clickLink({ selector: '#none' }))]; });
  row('http.Response.cookies', () => http.get(url + '/cookies/set?name=a&value=b&path=/&max=60').cookies);
}

