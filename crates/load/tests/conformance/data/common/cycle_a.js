exports.early = 1;
exports.seen = require('./cycle_b.js').seen;
exports.late = 2;
