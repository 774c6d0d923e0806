// Starts Swagger UI on /docs. A file of its own, so that the page needs no inline script.

// Swagger UI percent-encodes a path parameter as if it were one segment. The gateway forwards paths byte for
// byte, so an encoded slash would reach the backend as an encoded slash. A {path} of ours is written as in a
// URL: every character that may stand in a path goes back to what was typed, percent signs that begin an
// escape included. What cannot stand in a path (a space, "?", "#") stays encoded.
const PATH_CHARACTERS = /%(?:2F|3A|40|21|24|26|27|28|29|2A|2B|2C|3B|3D|25(?=[0-9A-F]{2}))/gi;

function asTyped(request) {
  const url = new URL(request.url, window.location.href);
  const path = url.pathname.replace(PATH_CHARACTERS, decodeURIComponent);
  request.url = url.origin + path + url.search;
  return request;
}

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  requestInterceptor: asTyped,
  validatorUrl: null,
});
