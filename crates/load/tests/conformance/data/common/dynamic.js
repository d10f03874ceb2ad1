(function (root, make) {
  Object.assign(root, make());
})(this, function () { return { one: 1, two: 2 }; });
