exports.early = 1;
throw new Error('thrown by a file');
