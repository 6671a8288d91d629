// Checks of our own on the page as rendered; returns a list of faults in words. Run by src/browser.rs.
const faults = [];
const say = (text) => { if (faults.length < 60) faults.push(text); };
const where = (element) => {
  const id = element.id ? '#' + element.id : '';
  const kind = element.className && typeof element.className === 'string' ? '.' + element.className.trim().split(/\s+/).join('.') : '';
  const text = (element.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 40);
  return `<${element.tagName.toLowerCase()}${id}${kind}>${text ? ' "' + text + '"' : ''}`;
};
const visible = (element) => {
  const style = getComputedStyle(element);
  return style.visibility !== 'hidden' && style.display !== 'none' && element.getClientRects().length > 0;
};
const nameOf = (element) => {
  const by = element.getAttribute('aria-labelledby');
  if (by) return by.split(/\s+/).map((id) => (document.getElementById(id) || {}).textContent || '').join(' ').trim();
  return (element.getAttribute('aria-label') || element.textContent || element.getAttribute('title') ||
    [...element.querySelectorAll('img[alt]')].map((image) => image.alt).join(' ') || '').trim();
};

if (!document.documentElement.lang) say('the document names no language');
if (!document.title.trim()) say('the document has no title');
const viewport = document.querySelector('meta[name=viewport]');
if (!viewport) say('no viewport is declared: phones shrink the page');
else if (/user-scalable\s*=\s*(no|0)|maximum-scale\s*=\s*1(\.0)?\b/.test(viewport.content)) say('the viewport forbids zooming');
if (document.querySelectorAll('main, [role=main]').length !== 1) say('there is not exactly one main landmark');

let level = 0;
const headings = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter(visible);
if (headings.filter((heading) => heading.tagName === 'H1').length !== 1) say('there is not exactly one first-level heading');
for (const heading of headings) {
  const next = Number(heading.tagName[1]);
  if (next > level + 1) say(`heading level ${next} follows ${level || 'nothing'}: ${where(heading)}`);
  if (!nameOf(heading)) say(`empty heading ${where(heading)}`);
  level = next;
}
for (const image of document.querySelectorAll('img, [role=img], input[type=image]'))
  if (!image.hasAttribute('alt') && !image.getAttribute('aria-label') && !image.getAttribute('aria-labelledby')) say(`image without alternative text ${image.src || ''}`);
for (const field of document.querySelectorAll('input:not([type=hidden]):not([type=submit]):not([type=button]):not([type=image]), select, textarea')) {
  const labels = [...(field.labels || [])].map((label) => label.textContent.trim()).join('');
  if (!labels && !field.getAttribute('aria-label') && !field.getAttribute('aria-labelledby') && !field.title) say(`field without a label: name=${field.name}`);
}
for (const control of document.querySelectorAll('a[href], button, [role=button], summary'))
  if (visible(control) && !nameOf(control)) say(`control without a name ${where(control)} ${control.getAttribute('href') || ''}`);
for (const element of document.querySelectorAll('[tabindex]'))
  if (Number(element.getAttribute('tabindex')) > 0) say(`positive tabindex on ${where(element)}`);
for (const table of document.querySelectorAll('table'))
  if (!table.querySelector('th') && table.getAttribute('role') !== 'presentation') say(`table without header cells ${where(table)}`);
for (const list of document.querySelectorAll('ul, ol'))
  for (const child of list.children) if (!['LI', 'SCRIPT', 'TEMPLATE'].includes(child.tagName)) say(`<${child.tagName.toLowerCase()}> directly in a list`);
const seen = new Set();
for (const element of document.querySelectorAll('[id]')) {
  if (seen.has(element.id)) say(`two elements have the id ${element.id}`);
  seen.add(element.id);
}
for (const frame of document.querySelectorAll('iframe')) if (!frame.title) say('a frame has no title');

// Sideways scrolling: the page itself must not, boxes of their own may.
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width + 1) {
  const wide = [...document.body.querySelectorAll('*')].filter((element) => {
    if (element.getBoundingClientRect().right <= width + 1) return false;
    for (let box = element.parentElement; box; box = box.parentElement)
      if (box !== document.documentElement && box !== document.body && /auto|scroll|hidden|clip/.test(getComputedStyle(box).overflowX)) return false;
    return true;
  });
  say(`the page is ${document.documentElement.scrollWidth} wide in a window of ${width}: ${wide.slice(0, 3).map(where).join(', ')}`);
}

// Contrast of text against the colours behind it (WCAG 2, AA). Text over images is left to the eye.
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (front, back) => {
  const a = front[3];
  return [0, 1, 2].map((i) => front[i] * a + back[i] * (1 - a)).concat(1);
};
const luminance = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((part) => { const c = part / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
// What shows where nothing is painted depends on the colour scheme the page declares.
const probe = document.body.appendChild(document.createElement('i'));
probe.style.background = 'Canvas';
const unpainted = rgba(getComputedStyle(probe).backgroundColor);
probe.remove();
const backdrop = (element) => {
  const layers = [];
  for (let box = element; box; box = box.parentElement) {
    const style = getComputedStyle(box);
    if (style.backgroundImage !== 'none') return null;
    const colour = rgba(style.backgroundColor);
    layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reverse().reduce((back, front) => over(front, back), unpainted);
};
const told = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element || told.has(element) || !visible(element)) continue;
  told.add(element);
  if (element.closest('[disabled], [aria-disabled=true], script, style, noscript, svg')) continue;
  const style = getComputedStyle(element);
  const back = backdrop(element);
  if (!back) continue;
  const text = over(rgba(style.color), back);
  const [light, deep] = [luminance(text), luminance(back)].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (deep + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5) - 0.01) say(`contrast ${ratio.toFixed(2)} of ${where(element)} (${style.color} on rgb(${back.slice(0, 3).map(Math.round).join(', ')}))`);
}
return faults;
