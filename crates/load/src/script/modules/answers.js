// What few scripts ask an answer of k6/http for. The host loads it when one does.
import { call } from 'springtide:runtime';

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

const cookiesOf = (text) => (text === '' ? {} : JSON.parse(text));

/** How each part is made of what the host packed for it. */
const made = {
  headers: headersOf,
  cookies: cookiesOf,
  ocsp: (tlsVersion) => ({ produced_at: 0, this_update: 0, next_update: 0, revoked_at: 0, revocation_reason: '', status: tlsVersion === '' ? '' : 'unknown' }),
  request: (pack) => {
    // Texts with zeros between them. The body comes last: it may hold anything.
    const [headers, cookies, method, url, ...body] = pack.split('\0');
    const lists = {};
    for (const [name, value] of Object.entries(headersOf(headers))) lists[name] = [value];
    return { method, url, headers: lists, body: body.join('\0'), cookies: cookiesOf(cookies) };
  },
};

export const part = (name, pack) => made[name](pack);

// The methods of answers.

function json(answer, selector) {
  const { body } = answer;
  if (body === null || body === undefined) {
    throw new Error('the body is null so we can\'t transform it to JSON - this likely was because of a request error getting the response');
  }
  const text = typeof body === 'string' ? body : call('text.decode', body);
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // As in k6, a path into what is no JSON finds nothing.
    if (selector !== undefined) return undefined;
    throw new SyntaxError(`cannot parse json due to an error: ${error.message}`);
  }
  return selector === undefined ? value : call('load', 'springtide:select').select(value, String(selector));
}

const methods = {
  json,
  html: (answer, selector) => forms().html(answer, selector),
  submitForm: (answer, wanted) => forms().submitForm(answer, wanted),
  clickLink: (answer, wanted) => forms().clickLink(answer, wanted),
};
const forms = () => call('load', 'springtide:forms');

/** A method as a function that knows its answer. */
export const method = (name, answer) => (argument) => methods[name](answer, argument);
