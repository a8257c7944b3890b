/* The lines with which a program asks what was asked on the page. A question is as `inputs.js` makes it. */

export function writeCurl(address, { picture, fileName, body }, hasToken) {
  const parts = [`curl ${quote(address)}`];
  if (hasToken) parts.push('-H "Authorization: Bearer $RAILCAR_TOKEN"');
  if (picture) {
    // curl reads , and ; in a file's name unless it is quoted for curl, too
    const name = /^[\w.-]+$/.test(fileName) ? fileName : `"${fileName.replace(/["\\]/g, "\\$&")}"`;
    parts.push(`-F ${quote(`file=@${name}`)}`);
  } else {
    parts.push("-H 'Content-Type: application/json'", `-d ${quote(body)}`);
  }
  return parts.join(" \\\n  ");
}

export function writePython(address, { picture, fileName, type, value }, hasToken) {
  const headers = { "Content-Type": type };
  const token = 'headers["Authorization"] = f"Bearer {os.environ[\'RAILCAR_TOKEN\']}"\n';
  const body = picture
    ? `with open(${spell(fileName)}, "rb") as file:\n    body = file.read()`
    : `body = json.dumps(${spell({ input: value })}).encode()`;
  return `import json
${hasToken ? "import os\n" : ""}import urllib.request

${body}
headers = ${spell(headers)}
${hasToken ? token : ""}request = urllib.request.Request(${spell(address)}, body, headers)
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["predictions"][0])
`;
}

/** For a shell. */
function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** As Python writes it. */
function spell(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, one]) => `${spell(name)}: ${spell(one)}`).join(", ")}}`;
}
