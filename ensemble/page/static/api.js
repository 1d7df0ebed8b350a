// Requests to the server of the page, and what a person is told. Every change carries a header that no form can send.

const FILE_BYTES = 64 * 2 ** 20; // as the server takes them
const SHOWN_MS = 8000;
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

// Send a file as it is; the answer is text (HTML or JSON).
export async function send(path, file) {
  if (file.size > FILE_BYTES) {
    throw new Error(`The file has ${Math.ceil(file.size / 2 ** 20)} MiB; at most 64 MiB can be sent.`);
  }
  const headers = { "Content-Type": "application/octet-stream", "X-Review": "1" };
  return (await answered(fetch(path, { method: "POST", headers, body: file }))).text();
}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("The server does not answer. Is detect review still running?");
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
