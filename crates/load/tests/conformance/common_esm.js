// An ES module that imports and requires CommonJS files.
import whole, { count, defined, named as renamed, quoted } from './data/common/main.js';
import * as all from './data/common/main.js';
import other, { value } from './data/common/other.js';
import called from './data/common/function.js';
import dynamic, { two } from './data/common/dynamic.js';
import { row, thrown } from './row.js';

const required = require('./data/common/main.js');
const module = require('./data/common/module.js');
const http = require('k6/http');
const refused = ['./data/common/missing.js', 'lodash', 'k6/nonsense', './data/common/throws.js'].map((name) => thrown(() => require(name)));

export const options = { iterations: 2 };

export default function () {
  row('module.commonjs', () => [whole.surroundings, whole.cycle, whole.text, typeof all.count]);
  row('module.commonjs', () => [defined, renamed, quoted, all.named, whole.count(), count(), whole.counter]);
  row('module.commonjs', () => [other, value, called(), dynamic, two]);
  row('module.commonjs-require', () => [required === whole, required.counter, module.default(), module.named, Object.keys(module)]);
  row('module.commonjs-require', () => [typeof http.get, refused, thrown(() => require('./data/common/main.js'))]);
}
