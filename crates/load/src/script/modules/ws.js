throw new Error('k6/ws is not supported');
