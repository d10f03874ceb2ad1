import { call, addSample } from 'springtide:runtime';

class Metric {
  #id;
  constructor(kind, name, isTime) {
    if (name === undefined) throw new TypeError(`new ${kind[0].toUpperCase()}${kind.slice(1)}: the metric has no name`);
    this.#id = call('metric', kind, String(name), isTime === true);
    Object.defineProperty(this, 'name', { value: String(name), enumerable: true });
  }
  add(value, tags) {
    let number = value === true ? 1 : value === false ? 0 : Number(value);
    if (value === undefined || value === null || Number.isNaN(number)) {
      return call('metric.nan', this.name, `${value === undefined ? 'no value was provided' : `'${String(value)}' is an invalid value`} for metric '${this.name}', a number or a boolean value is expected`);
    }
    if (this instanceof Rate) number = number === 0 ? 0 : 1;
    addSample(this.#id, number, tags);
    return true;
  }
}
export class Counter extends Metric { constructor(name, isTime) { super('counter', name, isTime); } }
export class Gauge extends Metric { constructor(name, isTime) { super('gauge', name, isTime); } }
export class Rate extends Metric { constructor(name, isTime) { super('rate', name, isTime); } }
export class Trend extends Metric { constructor(name, isTime) { super('trend', name, isTime); } }
export default { Counter, Gauge, Rate, Trend };
