const value = 'of another';
module.exports = { value, default: { is: 'default' } };
