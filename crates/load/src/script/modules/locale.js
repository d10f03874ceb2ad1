// What depends on the language, as k6 has it: texts in the order of a dictionary, and times of 24 hours.
import { call } from 'springtide:runtime';

const define = (prototype, name, value) => Object.defineProperty(prototype, name, { value, writable: true, configurable: true });

define(String.prototype, 'localeCompare', function (other) {
  return call('text.compare', String(this).normalize('NFD'), String(other).normalize('NFD'));
});

const time = (date) => [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
const valid = (date) => !Number.isNaN(date.getTime());
define(Date.prototype, 'toLocaleTimeString', function () {
  return valid(this) ? time(this) : 'Invalid Date';
});
define(Date.prototype, 'toLocaleString', function () {
  return valid(this) ? `${this.toLocaleDateString()}, ${time(this)}` : 'Invalid Date';
});
