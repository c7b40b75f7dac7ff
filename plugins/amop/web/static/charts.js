// Draws the time series of a view by uPlot, in place of the picture that the server drew; that one stays for print.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const HEIGHT = 220;
  const drawn = new Map();

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function words(unit, value) {
    if (value === null || value === undefined) return "–";
    const number = value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    return unit === "MB" ? `${number} MB` : `${unit} ${number}`;
  }

  function series(given, unit) {
    const stroke = color(given.is_forecast ? "--faint" : "--move");
    const shape = given.shape === "bars"
      ? { paths: uPlot.paths.bars({ size: [0.8, 40] }), fill: stroke, points: { show: false } }
      : { points: { show: true, size: 5 }, dash: given.is_forecast ? [6, 4] : undefined };
    return { label: given.name, stroke, width: given.shape === "bars" ? 0 : 2, value: (_, value) => words(unit, value), ...shape };
  }

  function draw(figure) {
    const chart = JSON.parse(figure.dataset.chart);
    const axis = { stroke: color("--text"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
    const day = { day: "2-digit", month: "short", timeZone: "UTC" };
    const label = chart.is_monthly ? { month: "short", year: "numeric", timeZone: "UTC" } : day;
    const named = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", label);
    const margin = chart.is_monthly ? 0 : 43200; // half a day, so that the first and the last column are whole
    const options = {
      width: figure.clientWidth,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      cursor: { drag: { x: false, y: false } },
      scales: { x: { range: (_, first, last) => [first - margin, last + margin] }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] } },
      axes: [
        { ...axis, space: 70, values: (_, splits) => splits.map(named), splits: () => spread(chart.moments, figure.clientWidth / 80) },
        { ...axis, size: 80, values: (_, splits) => splits.map((value) => value.toLocaleString("en-US")) },
      ],
      series: [{ label: "Time", value: (_, value) => (value === null ? "–" : named(value)) }, ...chart.series.map((each) => series(each, chart.unit))],
    };
    const old = drawn.get(figure);
    if (old) old.destroy();
    const made = new uPlot(options, [chart.moments, ...chart.series.map((each) => each.values)], figure);
    made.root.setAttribute("aria-hidden", "true"); // the table beside it has the numbers
    figure.prepend(made.root);
    figure.classList.add("drawn");
    drawn.set(figure, made);
  }

  function spread(moments, most) {
    const step = Math.max(1, Math.ceil(moments.length / Math.max(2, most)));
    return moments.filter((_, number) => number % step === 0);
  }

  const figures = document.querySelectorAll("figure[data-chart]");
  figures.forEach(draw);
  const redraw = () => figures.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const resized = new ResizeObserver((seen) => {
    for (const { target } of seen) {
      const made = drawn.get(target);
      if (made.width !== target.clientWidth) made.setSize({ width: target.clientWidth, height: HEIGHT });
    }
  });
  figures.forEach((figure) => resized.observe(figure));
});
