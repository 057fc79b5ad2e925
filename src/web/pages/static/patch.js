// Changes elements into others by as little as possible, so that what a reader has opened,
// selected or scrolled stays as it is while text is added.

function patchText(old, data) {
  if (old.data === data) return;
  let same = 0;
  while (same < old.data.length && old.data[same] === data[same]) same += 1;
  // A selection that ends before the change is not touched by it.
  if (same === old.data.length) old.appendData(data.slice(same));
  else old.replaceData(same, old.data.length - same, data.slice(same));
}

function patchAttributes(old, wanted) {
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !wanted.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

/** Makes `wanted`, elements and strings, the children of `parent`. */
export function patch(parent, wanted) {
  const have = [...parent.childNodes];
  wanted.forEach((one, nth) => {
    const node = typeof one === "string" ? document.createTextNode(one) : one;
    const old = have[nth];
    if (!old) {
      parent.append(node);
    } else if (old.nodeType !== node.nodeType || old.nodeName !== node.nodeName) {
      old.replaceWith(node);
    } else if (node.nodeType === Node.TEXT_NODE) {
      patchText(old, node.data);
    } else {
      patchAttributes(old, node);
      patch(old, [...node.childNodes]);
    }
  });
  for (const rest of have.slice(wanted.length)) rest.remove();
}
