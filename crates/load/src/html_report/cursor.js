"use strict";
(() => {
  const { places, times, series } = JSON.parse(document.getElementById("readings").textContent);
  const charts = document.querySelector(".charts");
  const readout = charts.querySelector(".readout");
  const plots = [...charts.querySelectorAll(".plot")];
  const cursors = [...charts.querySelectorAll(".cursor")];
  const values = [...charts.querySelectorAll("[data-series]")];
  const atRest = values.map((value) => value.textContent);
  const hint = readout.textContent;
  let shown = null;

  const show = (index) => {
    shown = index;
    readout.textContent = index === null ? hint : times[index];
    values.forEach((value, place) => {
      value.textContent = index === null ? atRest[place] : series[value.dataset.series][index];
    });
    for (const cursor of cursors) {
      cursor.setAttribute("visibility", index === null ? "hidden" : "visible");
      if (index !== null) {
        cursor.setAttribute("x1", `${places[index]}%`);
        cursor.setAttribute("x2", `${places[index]}%`);
      }
    }
  };
  const nearest = (percent) => {
    let best = 0;
    places.forEach((place, index) => {
      if (Math.abs(place - percent) < Math.abs(places[best] - percent)) best = index;
    });
    return best;
  };

  if (places.length === 0) return;
  for (const plot of plots) {
    const read = (event) => {
      const box = plot.getBoundingClientRect();
      show(nearest(((event.clientX - box.left) / box.width) * 100));
    };
    plot.addEventListener("pointermove", read);
    plot.addEventListener("pointerdown", read);
    // A finger that is lifted leaves what it pointed at.
    plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") show(null);
    });
  }
  charts.addEventListener("keydown", (event) => {
    const last = places.length - 1;
    const to = {
      ArrowLeft: shown === null ? last : Math.max(shown - 1, 0),
      ArrowRight: shown === null ? 0 : Math.min(shown + 1, last),
      Home: 0,
      End: last,
      Escape: null,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  charts.addEventListener("focusout", () => show(null));
})();
