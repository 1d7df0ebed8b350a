// Requests to the server of the page, and what a person is told. Every change carries a header that no form can send.

const MIB = 2 ** 20;
const SHOWN_MS = 8000;
const RUNNING = "Is detect review still running?";
let hiding = 0;

export async function get(path) {
  return (await answered(fetch(path))).json();
}

export async function html(path) {
  return (await answered(fetch(path))).text();
}

// Send JSON; the answer is JSON.
export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Review": "1" };
  return (await answered(fetch(path, { method: "POST", headers, body: JSON.stringify(body) }))).json();
}

// Mark a clip ({clip: key}) or the item of a row ({row: number}).
export function postMark(what, mark, note = "") {
  return post("/marks", { ...what, mark, note });
}

// Send a file of at most `most` MiB, as the server takes them; the answer is text (HTML or JSON).
export async function send(path, file, most = 64) {
  if (file.size > most * MIB) {
    throw new Error(`The file has ${Math.ceil(file.size / MIB)} MiB; at most ${most} MiB can be sent.`);
  }
  const headers = { "Content-Type": "application/octet-stream", "X-Review": "1" };
  return (await answered(fetch(path, { method: "POST", headers, body: file }))).text();
}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error(`The server does not answer. ${RUNNING}`);
  }
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try {
      message = JSON.parse(text).error;
    } catch {
      // not JSON: the text is the message
    }
    throw new Error(message || `The server answered ${response.status}.`);
  }
  return response;
}

// The script of a part. A browser does not fetch one again that it could not fetch; the whole page must be loaded anew.
export async function script(name) {
  try {
    return await import(`./${name}.js`);
  } catch (error) {
    console.error(error);
    throw Object.assign(new Error(`The script of this part could not be loaded. ${RUNNING}`), { isFinal: true });
  }
}

// A message that does not interrupt; screen readers read it when they are idle. It goes after some seconds.
export function say(text) {
  document.getElementById("status").textContent = text;
  clearTimeout(hiding);
  if (text) hiding = setTimeout(say, SHOWN_MS, "");
}

// A message on something that failed; it stays until it is closed or another part is shown.
export function fail(error) {
  document.getElementById("alert").textContent = error ? String(error.message ?? error) : "";
}
