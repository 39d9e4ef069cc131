document.documentElement.lang = "en";
JSON.parse(document.getElementById("aam-charts").textContent).forEach(function (spec, i) {
  var place = document.getElementById("aam-chart-" + i);
  var options = {
    mode: "vega-lite",
    renderer: "svg",
    ast: true, // expressions are interpreted, not compiled by eval, which a page may be denied
    downloadFileName: "chart-" + (i + 1),
    actions: { export: true, source: false, compiled: false, editor: false },
  };
  vegaEmbed(place, spec, options).catch(function (error) {
    place.textContent =
      "This chart could not be drawn (" + error.message + "); its numbers are in the tables.";
  });
});
