// Cookies: jars, what servers set, what ends with an iteration.
import http from 'k6/http';
import { row, thrown } from './row.js';

const url = __ENV.URL;
const sent = (params, path = '') => (http.get(url + path, params).json().headers.cookie || '').split('; ').sort();
const set = (query) => http.get(`${url}/cookies/set?${query}`);

export const options = { iterations: 2 };

export default function () {
  row('cookies.per-iteration', () => sent());
  const jar = http.cookieJar();
  row('http.cookieJar', () => [typeof jar.set, jar.cookiesForURL(url)]);
  row('http.CookieJar.set', () => [jar.set(url, 'a', '1'), jar.set(url, 'b', '2', { path: '/only', secure: false, max_age: 600, http_only: true }), jar.set(url, 'c', '3', { domain: '127.0.0.1' }), jar.set(url, 'd', '4', { expires: 'Mon, 02 Jan 2040 15:04:05 MST' }), jar.set(url, 'gone', '5', { max_age: -1 }), jar.set(url, 'old', '6', { expires: 'Mon, 02 Jan 2006 15:04:05 MST' })]);
  row('http.CookieJar.set', () => [sent(), sent({}, '/only'), sent({}, '/only/below'), sent({}, '/onlynot')]);
  row('http.CookieJar.set', () => [thrown(() => jar.set(url, 'e', '1', { domain: 'other.test' })), thrown(() => jar.set(url, 'f', '1', { expires: 'nonsense' })), jar.cookiesForURL(url)]);
  row('http.CookieJar.cookiesForURL', () => [jar.cookiesForURL(url), jar.cookiesForURL(url + '/only'), jar.cookiesForURL('http://other.test/')]);
  row('http.CookieJar.delete', () => [jar.delete(url, 'a'), jar.delete(url, 'nothing'), sent()]);
  row('http.CookieJar.clear', () => [jar.clear(url), sent()]);
  row('http.CookieJar', () => { const own = new http.CookieJar(); own.set(url, 'mine', 'x'); return [sent({ jar: own }), sent(), http.get(url + '/cookies/set?name=own&value=y', { jar: own }).status, own.cookiesForURL(url), http.cookieJar().cookiesForURL(url)]; });
  // Those without a path are for the folder of the URL that sets them, and delete overwrites no others.
  const folders = new http.CookieJar();
  const held = () => ['/', '/x', '/x/', '/x/y', '/x/y/z', '/xy'].map((path) => Object.keys(folders.cookiesForURL(url + path)).sort());
  row('http.CookieJar.set', () => { folders.set(`${url}/x/y`, 'deep', '1'); folders.set(`${url}/top`, 'top', '2'); folders.set(url, 'none', '3'); folders.set(`${url}/x/`, 'slash', '4'); folders.set(`${url}/q`, 'relative', '5', { path: 'relative' }); folders.set(url, 'p', '6', { path: '/x' }); return held(); });
  row('http.CookieJar.delete', () => { folders.delete(`${url}/x/z`, 'deep'); folders.delete(`${url}/x/y`, 'top'); folders.delete(`${url}/x`, 'p'); return held(); });
  row('http.CookieJar.clear', () => { folders.clear(`${url}/x/y`); const first = held(); folders.clear(url); return [first, held()]; });
  row('cookies.from-server', () => { set('name=a&value=b'); set('name=p&value=q&path=/cookies'); set('name=s&value=t&secure=1'); set('name=m&value=n&max=0'); return [sent(), sent({}, '/cookies/x')]; });
  row('cookies.from-server', () => { set('name=a&value=again'); return [sent(), set('name=h&value=i&http=1&max=60').cookies]; });
  row('cookies.redirect', () => [http.get(url + '/cookies/redirect?name=r&value=s').json().headers.cookie.split('; ').sort(), http.get(url + '/cookies/redirect?name=r&value=s').cookies]);
  row('http.Params.headers', () => [sent({ headers: { Cookie: 'own=1; more=2' } }), sent({ headers: { cookie: 'own=1' }, cookies: { of: 'params' } }), http.get(url + '/redirect/2', { headers: { Cookie: 'own=1' } }).status, sent({ headers: { Cookie: 'own=1' } }, '/moved/302')]);
  row('http.Params.cookies', () => [sent({ cookies: { a: 'beside' } }), sent({ cookies: { a: { value: 'instead', replace: true } } }), sent()]);
}
