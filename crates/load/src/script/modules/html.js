throw new Error('k6/html is not supported');
