// Shows the part "map"; called each time it is shown. section: its element; params: those of the address.
export async function show(section, params) {}
