// Requests to the server of the page, and what a person is told. Every change carries a header that no form can send.

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

// A message that does not interrupt; screen readers read it when they are idle.
export function say(text) {
  document.getElementById("status").textContent = text;
}

// A message on something that failed.
export function fail(error) {
  document.getElementById("alert").textContent = error ? String(error.message ?? error) : "";
}
