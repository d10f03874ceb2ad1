throw new Error('k6/websockets is not supported');
