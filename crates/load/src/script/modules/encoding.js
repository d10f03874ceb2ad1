import { call } from 'springtide:runtime';

export const b64encode = (input, encoding = 'std') => call('base64.encode', input, encoding);
export const b64decode = (input, encoding = 'std', format = 'b') => call('base64.decode', String(input), encoding ?? 'std', format === 's');
export default { b64encode, b64decode };
