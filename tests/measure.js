// What a browser sees of the page; an expression.
(() => {
  const root = document.documentElement;
  const shown = element => { const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility !== "hidden"; };
  const outside = [...document.querySelectorAll("body *")].filter(element => {
    const scroll = element.closest(".scroll");
    if (!shown(element) || element.closest(".hidden") || (scroll && scroll !== element)) return false;
    const box = element.getBoundingClientRect();
    return box.right > root.clientWidth + 0.5 || box.left < -0.5;
  }).map(element => element.tagName + "#" + element.id);
  const cut = [...document.querySelectorAll(".scroll")].filter(element =>
    element.scrollWidth > element.clientWidth + 1).map(element => element.getAttribute("aria-label"));
  // contrast of each text with what lies behind it (WCAG 2.1)
  const parts = text => text.match(/[\d.]+/g).map(Number);
  const light = rgb => { const [r, g, b] = rgb.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (top, share, below) => top.map((v, i) => v * share + below[i] * (1 - share));
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !shown(element) || element.closest(":disabled") || element.closest("noscript")) continue;
    const style = getComputedStyle(element), back = behind(element);
    const [r, g, b, a = 1] = parts(style.color);
    const two = [light(over([r, g, b], a, back)), light(back)].sort((x, y) => y - x);
    const ratio = (two[0] + 0.05) / (two[1] + 0.05);
    if (ratio < 4.5) faint.push(element.textContent.slice(0, 30) + ": " + ratio.toFixed(2));
  }
  const sizes = [...document.querySelectorAll("p, td, th, dd, dt, li, label, button, figcaption")]
    .filter(shown).map(element => parseFloat(getComputedStyle(element).fontSize));
  const small = [...document.querySelectorAll("button, input, summary")].filter(shown)
    .filter(element => element.getBoundingClientRect().height < 20).map(element => element.id);
  const ink = name => {
    const canvas = document.getElementById(name), found = new Set();
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < data.length; i += 4 * 7) found.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
    return found.size;
  };
  return {width: root.clientWidth, scroll: root.scrollWidth, outside, cut, faint, small,
    smallest: Math.min(...sizes), ink: {picture: ink("picture"), curve: ink("curve"), key: ink("key")},
    dark: light(behind(document.body)) < 0.2};
})()
