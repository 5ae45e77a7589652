// The style of the panel's modules and of their tests: mistakes that a reader would not see.

const BROWSER = [
  "AudioContext", "AudioWorkletNode", "Blob", "BroadcastChannel", "URL", "document", "localStorage", "navigator",
  "performance", "window",
];

export default [
  {
    files: ["**/*.js"],
    languageOptions: {
      ecmaVersion: 2025,
      sourceType: "module",
      globals: Object.fromEntries([...BROWSER, "globalThis", "process"].map((name) => [name, "readonly"])),
    },
    rules: {
      eqeqeq: "error",
      "no-const-assign": "error",
      "no-dupe-keys": "error",
      "no-redeclare": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unused-vars": "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
    },
  },
];
