exports.surroundings = [typeof module, typeof exports, typeof require, this === exports, exports === module.exports];
exports.counter = 0;
exports.named = 'named';
exports['quoted'] = require('./other.js').value;
Object.defineProperty(exports, 'defined', { enumerable: true, get() { return 'defined'; } });
exports.count = function () { exports.counter += 1; return exports.counter; };
exports.cycle = require('./cycle_a.js').seen;
exports.text = open('../words.txt').split('\n')[0];
