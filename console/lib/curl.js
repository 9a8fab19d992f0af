/* A request as a command line that a person can paste; the token stays a variable. */
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(method, path, body) {
  const lines = [`curl -X ${method} ${quote(location.origin + path)}`, `-H "Authorization: Bearer $TOKEN"`];
  if (body !== undefined && body !== null) lines.push('-H "Content-Type: application/json"', `-d ${quote(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}
