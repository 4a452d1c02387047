// One module in a worker of the page.
onmessage = ({ data: [bytes, steps, rounds] }) => {
  measure(bytes, steps, rounds).then((times) => postMessage({ times }), (error) => postMessage({ error: String(error) }));
};
