import { call } from 'springtide:runtime';

export class SharedArray {
  constructor(name, make) {
    if (name === undefined || name === '') throw new TypeError('empty name provided to SharedArray\'s constructor');
    if (typeof make !== 'function') throw new TypeError('a function is expected as the second argument of SharedArray\'s constructor');
    const key = String(name);
    let length = call('shared.length', key);
    if (length === undefined) {
      if (Object.getPrototypeOf(make).constructor.name === 'AsyncFunction') {
        throw new TypeError('SharedArray constructor does not support async functions as second argument');
      }
      const values = make();
      if (!Array.isArray(values)) throw new TypeError('only arrays can be made into SharedArray');
      length = call('shared.make', key, values.map((value) => JSON.stringify(value === undefined ? null : value)));
    }
    return new Proxy([], {
      get(target, name, self) {
        if (name === 'length') return length;
        if (typeof name === 'string' && /^\d+$/.test(name)) {
          const text = call('shared.get', key, Number(name));
          return text === undefined ? undefined : frozen(JSON.parse(text));
        }
        return Reflect.get(target, name, self);
      },
      has: (target, name) => (typeof name === 'string' && /^\d+$/.test(name) ? Number(name) < length : Reflect.has(target, name)),
      ownKeys: () => [...Array(length).keys()].map(String).concat('length'),
      getOwnPropertyDescriptor: (target, name) => (typeof name === 'string' && /^\d+$/.test(name) && Number(name) < length
        ? { value: frozen(JSON.parse(call('shared.get', key, Number(name)))), enumerable: true, configurable: true, writable: false }
        : Reflect.getOwnPropertyDescriptor(target, name)),
      set: () => { throw new TypeError('SharedArray is immutable'); },
      deleteProperty: () => { throw new TypeError('SharedArray is immutable'); },
      defineProperty: () => { throw new TypeError('SharedArray is immutable'); },
    });
  }
}

function frozen(value) {
  if (value !== null && typeof value === 'object') {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}
export default { SharedArray };
