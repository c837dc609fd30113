// Calls the API; a key, where the server wants one, lives as long as the tab.

const KEY = "dangol.key";
let key = read();

function read() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function keepKey(value) {
  key = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // kept in this page alone
  }
}

export function forgetKey() {
  key = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // nothing was kept
  }
}

export async function ask(path, method = "GET", body = undefined) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  const content = await answer.json();
  if (answer.ok) return content;
  throw Object.assign(new Error(content.detail), { status: answer.status, next: content.next });
}
