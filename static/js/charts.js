// Lets one read the counts of a line off it. The server draws every chart whole; where it has lines, uPlot draws them again
// over their place and answers to the pointer. All numbers and words are those of the chart's own table: nothing is formatted here.
{
  /** @typedef {{ name: string, colour: string, values: (number | null)[], texts: string[], before: boolean }} Count */
  /** @typedef {{ top: number, labels: string[], counts: Count[], partial: boolean }} Chart */

  /** @type {any} */
  const Plot = /** @type {any} */ (window).uPlot;
  const BESIDE = 12; // pixels from the pointer to what it reads

  /** @param {HTMLElement} figure @returns {Chart} */
  const read = (figure) => {
    const table = /** @type {HTMLTableElement} */ (figure.querySelector('.chart-data table'));
    const rows = [...table.tBodies[0].rows];
    const drawn = [...figure.querySelectorAll('.chart-lines')];
    const heads = [...table.tHead?.rows[0].cells ?? []].slice(1);
    let nth = -1;
    const counts = heads.map((head, column) => {
      const before = head.dataset.kind === undefined;
      nth += before ? 0 : 1;
      const cells = rows.map((row) => row.cells[column + 1]);
      return {
        name: head.textContent ?? '',
        colour: getComputedStyle(drawn[nth]).getPropertyValue('--kind').trim(),
        values: cells.map((cell) => { const data = cell.querySelector('data'); return data && Number(data.value); }),
        texts: cells.map((cell) => cell.textContent ?? ''),
        before,
      };
    });
    const ticks = [.../** @type {NodeListOf<SVGElement>} */ (figure.querySelectorAll('.chart-tick'))].map((tick) => Number(tick.dataset.value));
    const labels = rows.map((row) => row.cells[0].textContent ?? '');
    return { top: Math.max(...ticks), labels, counts, partial: rows[rows.length - 1].dataset.partial !== undefined };
  };

  /** What uPlot draws: a line, the broken piece of one that is not over yet, or the time before. @param {Chart} chart */
  const lines = (chart) => {
    const last = chart.labels.length - 1;
    return chart.counts.flatMap(({ colour, values, before }) => {
      if (before) return [{ values, look: { stroke: colour, width: 1.5, dash: [5, 4], alpha: 0.65 } }];
      const look = { stroke: colour, width: 2 };
      if (!chart.partial) return [{ values, look }];
      return [
        { values: values.map((value, index) => (index < last ? value : null)), look },
        { values: values.map((value, index) => (index < last - 1 ? null : value)), look: { ...look, dash: [1, 5], cap: 'round' } },
      ];
    });
  };

  /** @param {HTMLElement} reading @param {Chart} chart @param {number} index */
  const say = (reading, chart, index) => {
    const when = document.createElement('strong');
    when.textContent = chart.labels[index];
    const told = chart.counts.map((count) => {
      const line = document.createElement('span');
      const key = document.createElement('i');
      key.style.background = count.before ? 'none' : count.colour;
      key.style.borderColor = count.colour;
      const value = document.createElement('b');
      value.textContent = count.texts[index];
      line.append(key, count.name, value);
      return line;
    });
    reading.replaceChildren(when, ...told);
  };

  /** Draws a chart, and gives back how to take it away. @param {HTMLElement} figure @returns {() => void} */
  const draw = (figure) => {
    const chart = read(figure);
    const place = document.createElement('div');
    place.className = 'chart-live';
    place.ariaHidden = 'true';
    const reading = document.createElement('div');
    reading.className = 'chart-reading';
    reading.hidden = true;
    /** @type {HTMLElement} */ (figure.querySelector('.chart-picture')).append(place);
    const drawn = lines(chart);
    const size = () => ({ width: Math.floor(place.clientWidth), height: Math.floor(place.clientHeight) });

    /** @param {any} plot */
    const follow = (plot) => {
      const { idx: index, left } = plot.cursor;
      reading.hidden = index == null || left < 0;
      if (reading.hidden) return;
      say(reading, chart, index);
      const x = plot.valToPos(index, 'x');
      const fits = x + BESIDE + reading.offsetWidth <= place.clientWidth;
      reading.style.left = `${fits ? x + BESIDE : Math.max(0, x - BESIDE - reading.offsetWidth)}px`;
    };

    /** The line stands on a bin, never between two. @param {any} plot @param {number} left @param {number} top */
    const snap = (plot, left, top) => [left < 0 ? left : plot.valToPos(plot.posToIdx(left), 'x'), top];

    const options = {
      ...size(),
      padding: [0, 0, 0, 0],
      legend: { show: false },
      cursor: { y: false, move: snap, drag: { x: false, y: false }, points: { size: 9 } },
      scales: { x: { time: false, range: () => [0, Math.max(1, chart.labels.length - 1)] }, y: { range: () => [0, chart.top] } },
      axes: [{ show: false }, { show: false }],
      series: [{}, ...drawn.map(({ look }) => ({ ...look, points: { show: false }, spanGaps: false }))],
      hooks: { setCursor: [follow] },
    };
    const plot = new Plot(options, [chart.labels.map((_, index) => index), ...drawn.map((line) => line.values)], place);
    plot.over.append(reading);
    const observer = new ResizeObserver(() => plot.setSize(size()));
    observer.observe(place);
    figure.classList.add('is-live');
    return () => {
      observer.disconnect();
      plot.destroy();
      place.remove();
    };
  };

  for (const figure of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-chart="series"]'))) {
    let remove = draw(figure);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      remove();
      remove = draw(figure);
    });
  }
}
