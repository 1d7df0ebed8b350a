// The key of a clip in an address. Bytes of a name that are not UTF-8 arrive as lone surrogates and leave as these bytes.
export function address(key) {
  return Array.from(key, (letter) => {
    const code = letter.charCodeAt(0);
    if (letter.length === 1 && code >= 0xdc80 && code <= 0xdcff) return `%${(code - 0xdc00).toString(16).toUpperCase()}`;
    return letter.isWellFormed?.() === false ? "%EF%BF%BD" : encodeURIComponent(letter);
  }).join("");
}
