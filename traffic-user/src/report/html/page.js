'use strict';
// Makes the page's histogram and tables interactive. The page is whole without it.
(() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const TOP = 8, PLOT = 260, AXIS = 52;
  const root = document.documentElement;
  root.classList.add('js');

  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function shape(name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  const grouped = (n) => n.toLocaleString('en-US', { maximumFractionDigits: 9 });

  function scaled(n, unit) {
    for (const [size, prefix] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
      if (n >= size) return `${Number((n / size).toPrecision(3))} ${prefix}${unit}`;
    }
    return `${n} ${unit}`;
  }

  function tickLabel(n) {
    if (n < 10000) return grouped(n);
    for (const [size, name] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
      if (n >= size) return grouped(Number((n / size).toFixed(2))) + name;
    }
    return grouped(n);
  }

  // The smallest 1, 2 or 5 times a power of ten that is not below `value`.
  function roundUp(value) {
    const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
    return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= value * (1 - 1e-9));
  }

  function timeStep(span, wanted) {
    const rough = span / wanted;
    if (rough <= 10) return roundUp(rough);
    const clock = [20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200];
    return clock.find((step) => step >= rough) ?? 86400 * roundUp(rough / 86400);
  }

  // Seconds at a tick, with the clock unit beside long ones.
  function timeLabel(seconds, step) {
    const number = grouped(Number(seconds.toPrecision(9)));
    const clock = [[86400, 'd'], [3600, 'h'], [60, 'min']]
      .find(([unit]) => seconds >= unit && step >= 300 && seconds % unit < 0.5);
    return clock ? `${number} (${Math.floor(seconds / clock[0])} ${clock[1]})` : number;
  }

  function chart(given) {
    let data = given;
    const figure = document.getElementById('chart');
    if (!figure || data.bins.length === 0) return null;
    const bars = figure.querySelector('.bars');
    const axis = figure.querySelector('.y');
    const axisName = figure.querySelector('.axis-name');
    const packets = axisName.textContent;
    let all = data.bins.length;
    const view = { from: 0, to: all, bytes: false, log: false, hidden: new Set(), cursor: null, drag: null };

    function layers() {
      const shown = data.series.filter((layer) => !view.hidden.has(layer.name));
      return view.bytes ? shown.map((layer) => ({ ...layer, bins: layer.bytes })) : shown;
    }

    // As many decimals as tell one bin from the next.
    const decimals = () => Math.min(9, Math.max(0, 2 - Math.floor(Math.log10(data.bin_seconds))));
    const time = (bin) => grouped(Number((bin * data.bin_seconds).toFixed(decimals())));

    const sum = (row) => row.slice(view.from, view.to).reduce((a, b) => a + b, 0);
    const total = (bin) => layers().reduce((height, layer) => height + (layer.bins[bin] ?? 0), 0);

    function vertical() {
      let peak = 1;
      for (let bin = view.from; bin < view.to; bin++) peak = Math.max(peak, total(bin));
      if (view.log) {
        const decades = Math.max(1, Math.ceil(Math.log10(peak + 1) - 1e-9));
        const ticks = [0, ...Array.from({ length: decades + 1 }, (_, power) => 10 ** power)];
        const top = Math.log10(1 + 10 ** decades);
        return { ticks, y: (n) => TOP + PLOT * (1 - Math.log10(1 + n) / top) };
      }
      const step = Math.max(1, roundUp(peak / 5));
      const top = Math.ceil(peak / step) * step;
      const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
      return { ticks, y: (n) => TOP + PLOT * (1 - n / top) };
    }

    function draw() {
      const width = bars.clientWidth || bars.getBoundingClientRect().width;
      const scale = vertical();
      const slot = width / (view.to - view.from);
      const gap = slot >= 4 ? Math.min(2, slot * 0.08) : 0;
      const left = (bin) => (bin - view.from) * slot;
      const nodes = [];
      for (const tick of scale.ticks) {
        const y = scale.y(tick).toFixed(1);
        nodes.push(shape('line', { class: 'grid', x1: 0, x2: width, y1: y, y2: y }));
      }
      for (let bin = view.from; bin < view.to; bin++) {
        if (data.lost[bin] > 0) {
          nodes.push(shape('rect', { class: 'loss', x: left(bin), width: slot, y: TOP, height: PLOT }));
        }
      }
      const feet = new Array(all).fill(0);
      for (const layer of layers()) {
        let path = '';
        for (let bin = view.from; bin < view.to; bin++) {
          if (!layer.bins[bin]) continue;
          const head = feet[bin] + layer.bins[bin];
          const upper = scale.y(head), lower = scale.y(feet[bin]);
          path += `M${(left(bin) + gap / 2).toFixed(2)} ${lower.toFixed(2)}V${upper.toFixed(2)}h${(slot - gap).toFixed(2)}V${lower.toFixed(2)}z`;
          feet[bin] = head;
        }
        nodes.push(shape('path', { d: path, fill: layer.colour }));
      }
      nodes.push(...timeAxis(width));
      if (view.drag) {
        const [from, to] = view.drag;
        nodes.push(shape('rect', { class: 'selection', x: left(from), width: (to - from) * slot, y: TOP, height: PLOT }));
      } else if (view.cursor !== null) {
        nodes.push(shape('rect', { class: 'cursor', x: left(view.cursor), width: slot, y: TOP, height: PLOT }));
      }
      bars.replaceChildren(...nodes);
      axis.replaceChildren(...countAxis(scale));
      axisName.textContent = view.bytes ? packets.replace('Number of Packets', 'Bytes') : packets;
      describe();
    }

    function countAxis(scale) {
      let last = Infinity;
      return scale.ticks.flatMap((tick) => {
        const y = scale.y(tick);
        if (last - y < 12) return [];
        last = y;
        return [shape('text', { x: AXIS - 8, y: (y + 4).toFixed(1), 'text-anchor': 'end' }, tickLabel(tick))];
      });
    }

    function timeAxis(width) {
      const start = view.from * data.bin_seconds, end = view.to * data.bin_seconds;
      const room = end < 1500 ? 110 : 150;
      const step = timeStep(end - start, Math.max(2, Math.floor(width / room)));
      const nodes = [];
      for (let index = Math.ceil(start / step - 1e-6); index * step <= end + step * 1e-6; index++) {
        const x = (index * step - start) / (end - start) * width;
        const anchor = x < 4 ? 'start' : x > width - room / 3 ? 'end' : 'middle';
        nodes.push(shape('line', { class: 'tick', x1: x, x2: x, y1: TOP + PLOT, y2: TOP + PLOT + 5 }));
        nodes.push(shape('text', { x, y: TOP + PLOT + 20, 'text-anchor': anchor }, timeLabel(index * step, step)));
      }
      return nodes;
    }

    // Controls.
    const range = element('span', { class: 'range', role: 'status' });
    const reset = element('button', { type: 'button', class: 'reset' }, 'Reset zoom');
    reset.addEventListener('click', () => zoom(0, all));

    function choice(names, chosen, choose) {
      const group = element('span', { class: 'segments', role: 'group' });
      names.forEach((name, index) => {
        const button = element('button', { type: 'button', 'aria-pressed': String(index === chosen) }, name);
        button.addEventListener('click', () => {
          for (const other of group.children) other.setAttribute('aria-pressed', String(other === button));
          choose(index === 1);
          draw();
        });
        group.append(button);
      });
      return group;
    }

    const controls = element('div', { class: 'controls' },
      choice(['Packets', 'Bytes'], 0, (on) => { view.bytes = on; }),
      choice(['Linear', 'Log'], 0, (on) => { view.log = on; }),
      reset, range);
    figure.before(controls);

    function legend() {
      for (const item of figure.querySelectorAll('li[data-series]')) {
        const { name } = data.series[Number(item.dataset.series)];
        const pressed = () => String(!view.hidden.has(name));
        const button = element('button', { type: 'button', 'aria-pressed': pressed(), title: 'Show or hide' }, ...item.childNodes);
        button.addEventListener('click', () => {
          if (!view.hidden.delete(name)) view.hidden.add(name);
          button.setAttribute('aria-pressed', pressed());
          draw();
        });
        item.replaceChildren(button);
      }
    }
    legend();

    function describe() {
      const zoomed = view.from > 0 || view.to < all;
      reset.disabled = !zoomed;
      const span = `${time(view.from)} to ${time(view.to)} s`;
      range.textContent = `${zoomed ? span : 'Drag to zoom'} · ${grouped(sum(data.bins))} packets · ${scaled(sum(data.bytes), 'B')}`;
    }

    function zoom(from, to) {
      view.from = from;
      view.to = to;
      view.cursor = null;
      tip.hidden = true;
      draw();
    }

    // Exact counts under the pointer.
    const tip = element('div', { class: 'tip', hidden: '' });
    figure.append(tip);
    bars.setAttribute('tabindex', '0');
    bars.setAttribute('aria-label', 'Packets over time. Arrow keys read bins, Escape resets the zoom.');

    function point(bin) {
      view.cursor = bin;
      draw();
      const from = bin * data.bin_seconds;
      const rows = data.series
        .filter((layer) => layer.bins[bin] > 0)
        .map((layer) => {
          const swatch = shape('svg', { class: 'swatch', width: 11, height: 11 });
          swatch.append(shape('rect', { width: 11, height: 11, rx: 2, fill: layer.colour }));
          return element('tr', {}, element('td', {}, swatch, layer.name),
            element('td', { class: 'n', 'data-v': '' }, view.bytes ? scaled(layer.bytes[bin], 'B') : grouped(layer.bins[bin])));
        });
      const lines = [element('strong', {}, `${time(bin)} to ${time(bin + 1)} s`)];
      const started = Date.parse(data.start ?? '');
      if (!Number.isNaN(started)) {
        lines.push(element('div', {}, new Date(started + from * 1000).toISOString().replace('T', ' ')));
      }
      lines.push(element('div', {}, `${grouped(data.bins[bin])} packets, ${grouped(data.bytes[bin] ?? 0)} bytes`));
      if (data.lost[bin] > 0) lines.push(element('div', {}, `${grouped(data.lost[bin])} summaries lost`));
      if (rows.length) lines.push(element('table', {}, element('tbody', {}, ...rows)));
      tip.replaceChildren(...lines);
      tip.hidden = false;
      const x = AXIS + (bin - view.from + 0.5) / (view.to - view.from) * bars.clientWidth;
      const fits = x + 14 + tip.offsetWidth <= figure.clientWidth;
      tip.style.left = `${Math.max(0, fits ? x + 14 : x - 14 - tip.offsetWidth)}px`;
      tip.style.top = `${bars.parentElement.offsetTop + 12}px`;
    }

    function unpoint() {
      view.cursor = null;
      tip.hidden = true;
      draw();
    }

    function binAt(event) {
      const box = bars.getBoundingClientRect();
      const bin = view.from + Math.floor((event.clientX - box.left) / box.width * (view.to - view.from));
      return Math.min(view.to - 1, Math.max(view.from, bin));
    }

    let pressed = null;
    bars.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      pressed = binAt(event);
      bars.setPointerCapture(event.pointerId);
    });
    bars.addEventListener('pointermove', (event) => {
      const bin = binAt(event);
      view.drag = pressed === null || pressed === bin ? null : [Math.min(pressed, bin), Math.max(pressed, bin) + 1];
      point(bin);
    });
    bars.addEventListener('pointerup', () => {
      const chosen = view.drag;
      pressed = view.drag = null;
      if (chosen) zoom(...chosen);
    });
    bars.addEventListener('pointercancel', () => { pressed = view.drag = null; unpoint(); });
    bars.addEventListener('pointerleave', () => { if (pressed === null) unpoint(); });
    bars.addEventListener('dblclick', () => zoom(0, all));
    bars.addEventListener('blur', unpoint);
    bars.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === 'Escape') zoom(0, all);
      else if (step) {
        event.preventDefault();
        const bin = view.cursor === null ? view.from : view.cursor + step;
        point(Math.min(view.to - 1, Math.max(view.from, bin)));
      }
    });
    // Paper has another width than the screen: it gets the page's own figure, which fits any.
    let printed = [bars, axis].map((svg) => [svg, [...svg.childNodes]]);
    addEventListener('beforeprint', () => {
      if (printed.length === 0) return;
      for (const [svg, nodes] of printed) svg.replaceChildren(...nodes);
      axisName.textContent = packets;
    });
    addEventListener('afterprint', draw);
    new ResizeObserver(draw).observe(bars);
    draw();

    // Takes newer data of a running capture; a zoom stays on the time that it shows.
    return (next) => {
      if (next.bins.length === 0) return;
      const scale = data.bin_seconds / next.bin_seconds;
      const zoomed = view.from > 0 || view.to < all;
      data = next;
      all = data.bins.length;
      view.from = zoomed ? Math.min(all - 1, Math.round(view.from * scale)) : 0;
      view.to = zoomed ? Math.min(all, Math.max(view.from + 1, Math.round(view.to * scale))) : all;
      printed = [];
      pressed = view.drag = null;
      legend();
      if (view.cursor === null) draw();
      else point(Math.min(view.to - 1, Math.max(view.from, view.cursor)));
    };
  }

  // What brings a table's rows into the order and the choice of the user again.
  const arrange = new Map();

  function sortable(table) {
    const body = table.tBodies[0];
    let original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    const key = (row, column) => {
      const cell = row.cells[column];
      return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
    };
    headings.forEach((heading, column) => {
      const button = element('button', { type: 'button' }, ...heading.childNodes);
      heading.replaceChildren(button);
      button.addEventListener('click', () => {
        const numeric = typeof key(original[0], column) === 'number';
        const first = numeric ? 'descending' : 'ascending';
        const second = numeric ? 'ascending' : 'descending';
        const order = { [first]: second, [second]: 'none' }[heading.getAttribute('aria-sort')] ?? first;
        for (const other of headings) other.setAttribute('aria-sort', 'none');
        heading.setAttribute('aria-sort', order);
        sort();
      });
    });

    function sort() {
      const column = headings.findIndex((heading) => /cending/.test(heading.getAttribute('aria-sort')));
      if (column < 0) return body.append(...original);
      const sign = headings[column].getAttribute('aria-sort') === 'descending' ? -1 : 1;
      const compare = (a, b) => typeof key(a, column) === 'number'
        ? key(a, column) - key(b, column)
        : key(a, column).localeCompare(key(b, column), 'en', { numeric: true });
      return body.append(...[...original].sort((a, b) => sign * compare(a, b)));
    }

    let search = original.length >= 4 ? searchable(table) : null;
    arrange.set(table, () => {
      original = [...body.rows];
      sort();
      if (search) search();
      else if (original.length >= 4) search = searchable(table);
    });
  }

  function searchable(table) {
    const title = table.closest('.card').querySelector('h2');
    const input = element('input', { type: 'search', placeholder: 'Search', 'aria-label': `Search ${title.textContent}` });
    const line = element('div', { class: 'title' });
    title.replaceWith(line);
    line.append(title, input);
    const search = () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    };
    input.addEventListener('input', search);
    return search;
  }

  let redraw = chart(JSON.parse(document.getElementById('timeline').textContent));
  document.querySelectorAll('table.sortable').forEach(sortable);

  // A live page announces what it brought up to date.
  document.addEventListener('timeline', (event) => {
    if (redraw) redraw(event.detail);
    else redraw = chart(event.detail);
  });
  document.addEventListener('rows', (event) => {
    const table = event.target;
    if (arrange.has(table)) arrange.get(table)();
    else if (table.matches('.sortable')) sortable(table);
  });
})();
