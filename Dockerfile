# A worker. Debian, not Alpine: Temporal's native part needs glibc.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
RUN node scripts/build.mjs

FROM node:24-bookworm-slim
# certificates: Temporal and providers are reached over TLS
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# no install scripts: dist/ comes from the build stage
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY --from=build /app/dist ./dist
COPY bin ./bin
# your configuration is mounted at /app/config: from there its imports find /app/node_modules
# a witness keeps its memory in a volume there
RUN mkdir config /memory && chown node /memory
USER node
# SIGTERM stops polling and lets tools finish: give it the longest tool timeout + 10 s (stop_grace_period)
STOPSIGNAL SIGTERM
CMD ["node", "bin/actguard.mjs", "worker"]
