// The filters and the item of the part triage, as the address has them: #triage?machine=fan&clip=12.

// The address as it is written: names of files may have bytes that are not UTF-8.
export function asked() {
  const values = new Map();
  for (const pair of (location.hash.split("?", 2)[1] ?? "").split("&").filter(Boolean)) {
    const [name, value = ""] = pair.split("=", 2);
    values.set(name, value);
  }
  const row = values.get("clip") ?? null;
  values.delete("clip");
  return { row: /^\d{1,9}$/.test(row ?? "") ? row : null, filters: joined(values) };
}

export function joined(values) {
  return [...values].filter(([, value]) => value).map(([name, value]) => `${name}=${value}`).join("&");
}

export function address(filters, row) {
  return `#triage?${[filters, row && `clip=${row}`].filter(Boolean).join("&")}`;
}
