/** References to secrets, where they are sent and where they come from. */

/** Where a secret stands in a request. */
export type SecretPlace =
  | {
      readonly kind: 'header';
      readonly header: string;
      /** `Bearer {}`: where the value goes. */ readonly format: string;
    }
  | { readonly kind: 'query'; readonly parameter: string }
  | { readonly kind: 'basic'; readonly user: string }
  | { readonly kind: 'body'; readonly field: string };

/** The requests that a secret joins, all of it: host, method and path. */
export interface SecretBinding {
  /** `payments.example` or `localhost:4010`, as URLs write it. */
  readonly host: string;
  /** In capitals; null: any. */
  readonly methods: readonly string[] | null;
  /** This path and below it; null: any. */
  readonly path: string | null;
  readonly into: SecretPlace;
}

/** A reference to a secret: never the secret itself. Made by `secret()`. */
export interface SecretRef {
  readonly kind: 'secret';
  /** `payments/api-key` */
  readonly name: string;
  /** Environment variable it is read from; default: the name in capitals with underscores. */
  readonly env: string;
  /** Whose it is. */
  readonly per: 'worker' | 'tenant' | 'user';
  /** Whether `ctx.reveal` gives it to the tool's own code. */
  readonly reveal: boolean;
  /** Which requests of `ctx.fetch` it joins; null: none. */
  readonly sent: SecretBinding | null;
}

/** Whose value of a secret is asked for; both absent: the worker's own. */
export interface SecretOwner {
  readonly tenant?: string;
  readonly user?: string;
}

/** A source of the user's own; undefined: it has none. It is asked again when `cacheFor` is over. */
export type SecretFunction = (name: string, owner: SecretOwner) => Promise<string | undefined>;

/** One source of secrets, checked. */
export type SecretFrom =
  | { readonly kind: 'environment' }
  /** A file encrypted with age; paths are relative to the configuration. */
  | { readonly kind: 'file'; readonly path: string; readonly identityFile: string; readonly identityEnv: string }
  /** HashiCorp Vault or OpenBao: KV version 2, signed in by AppRole. */
  | {
      readonly kind: 'vault';
      readonly address: string;
      readonly mount: string;
      /** Empty, or ends in `/`. */
      readonly prefix: string;
      readonly auth: string;
      readonly namespace: string | null;
      readonly roleIdEnv: string;
      readonly secretIdEnv: string;
    }
  /** Makes the secret `name`: a token by OAuth 2.0 client credentials (RFC 6749, 4.4). */
  | {
      readonly kind: 'oauth';
      readonly name: string;
      readonly tokenUrl: string;
      readonly clientId: string;
      /** Name of the secret that is the client's. */
      readonly clientSecret: string;
      readonly scope: string | null;
      readonly auth: 'basic' | 'body';
    }
  | SecretFunction;

/** One source of secrets as written. */
export type SecretFromOptions =
  | { readonly kind: 'environment' }
  | {
      readonly kind: 'file';
      /** Default `secrets.age`. */
      readonly path?: string;
      /** Default `.actguard/age-identity`; mode 0600. */
      readonly identityFile?: string;
      /** Default ACTGUARD_AGE_IDENTITY: the identity itself; goes before the file. */
      readonly identityEnv?: string;
    }
  | {
      readonly kind: 'vault';
      readonly address: string;
      /** Where KV version 2 is mounted; default `secret`. */
      readonly mount?: string;
      readonly prefix?: string;
      /** Where AppRole is mounted; default `approle`. */
      readonly auth?: string;
      readonly namespace?: string;
      /** Default VAULT_ROLE_ID. */
      readonly roleIdEnv?: string;
      /** Default VAULT_SECRET_ID. */
      readonly secretIdEnv?: string;
    }
  | {
      readonly kind: 'oauth';
      readonly name: string;
      readonly tokenUrl: string;
      readonly clientId: string;
      readonly clientSecret: string;
      readonly scope?: string;
      /** How the client signs in; default `basic`. */
      readonly auth?: 'basic' | 'body';
    }
  | SecretFunction;

/** The sources of a configuration, in the order they are asked, and how long a value stays in memory. */
export interface Secrets {
  readonly from: readonly SecretFrom[];
  readonly cacheMs: number;
}
