// What lbcore tells: the structure, the live stream, the state of the instance. Times are milliseconds, rates per second.

export type Layer = "http" | "tcp" | "udp";
export type Kind = "entrypoint" | "router" | "middleware" | "service" | "member";

/** One object of the configuration. Which of the optional fields it has depends on `kind`. */
export interface Node {
  id: string;
  kind: Kind;
  layer?: Layer;
  name: string;
  provider?: string;
  status: "enabled" | "warning" | "disabled";
  errors?: string[];
  // entry points
  address?: string;
  /** Where it listens, if the port is none of the configuration. */
  bound?: string;
  protocol?: "tcp" | "udp";
  http3?: boolean;
  // entry points and routers
  tls?: boolean;
  // routers
  rule?: string;
  priority?: number;
  entryPoints?: string[];
  middlewares?: string[];
  parents?: string[];
  /** Of a router: the id of its service. Of a member: the id of the service that it belongs to. */
  service?: string;
  // middlewares and services
  type?: string;
  usedBy?: string[];
  // services
  strategy?: string;
  members?: string[];
  sticky?: string;
  healthCheck?: boolean;
  passiveHealthCheck?: boolean;
  slowStart?: boolean;
  maxConnections?: number;
  /** Of a service over services: servers below it get requests from elsewhere, too. */
  shared?: boolean;
  // members
  key?: string;
  server?: boolean;
  child?: string;
  weight?: number;
  role?: "main" | "fallback" | "mirror";
  percent?: number;
}

export interface Structure {
  version: string;
  generation: number;
  nodes: Node[];
}

export type Word =
  | "down" | "unreached" | "ejected" | "onTrial" | "drained" | "taken-out" | "slow-starting" | "overridden" | "full" | "disabled" | "kept" | "draining";

/** What is going on at one node. A node without one is idle and well. */
export interface Live {
  rate?: number;
  errors?: number;
  classes?: number[];
  p50?: number;
  p95?: number;
  p99?: number;
  inFlight?: number;
  connections?: number;
  queue?: number;
  queued?: number;
  retries?: number;
  denied?: number; // by middlewares
  mirrors?: { sent?: number; failed?: number; shed?: number };
  sticky?: { kept?: number; begun?: number };
  bytesIn?: number;
  bytesOut?: number;
  requests?: number;
  share?: number;
  wanted?: number;
  weight?: number;
  override?: number;
  slowStart?: number;
  downs?: number; // times that it went down
  downMs?: number; // how long that took, without the time since it is down now
  maxConnections?: number;
  down?: boolean;
  since?: number;
  cause?: string;
  states?: Word[];
}

export interface Totals extends Live {
  cpuWorkers?: number[];
  nodesBusy?: number;
  down?: never;
  watchers?: number;
  uptime?: number;
}

export interface Hello {
  instance: string;
  version: string;
  started: number;
  interval: number;
  structure: string;
  info: string;
  writable: boolean;
}

export interface Tick {
  time: number;
  totals: Totals;
  nodes: Record<string, Live | null>;
}

export interface Problem {
  severity: "lost" | "degraded" | "warning";
  object: string;
  id?: string;
  text: string;
  traffic?: string[];
  file?: string;
  line?: number;
}

export interface Provider {
  name: string;
  objects: number;
  lastSuccess: string | null;
  lastFailure: string | null;
  failures: number;
  ageSeconds: number;
  problems: string[];
  /** Whether its source could be read the last time. */
  readable: boolean;
}

/** The instances that serve the same. */
export interface Fleet {
  name: string;
  instances: number;
  problem: string;
  shed: number;
}

export interface Certificate {
  name: string;
  commonName: string;
  sans: string[];
  issuerCN: string;
  keyType: string;
  keySize: number;
  notAfterMs: number;
  daysLeft: number;
  status: string;
}

export interface Change {
  time: number;
  added: string[];
  removed: string[];
  changed: string[];
  counts: { added: number; removed: number; changed: number };
}

export interface LogLevel {
  level: string;
  configured: string;
  overridden: boolean;
  until: string | null;
}

/** What /ping answers, and since when it fails by hand. */
export interface Ping {
  status: number;
  failingStatus: number;
  failsSince: string | null;
  failedBy: string | null;
  stopping: boolean;
}

export interface End {
  stopping: boolean;
  acceptSeconds: number;
  drainSeconds: number;
}

/** Of a process, in bytes; null: the kernel does not tell. */
export interface ProcessMemory {
  name: string;
  pid: number;
  residentBytes: number | null;
  proportionalBytes: number | null;
  privateBytes: number | null;
  swappedBytes: number | null;
  heap?: { allocatedBytes: number; freeBytes: number } | null;
  kept?: { bufferBytes: number; blockBytes: number; exchanges: number };
  connections?: { clients: number; mostClients: number | null; pooled: number };
  problem?: string;
}

export interface Memory {
  time: string;
  totalBytes: number | null;
  processes: ProcessMemory[];
  shared: {
    mappedBytes: number;
    residentBytes: number;
    services: { used: number; most: number };
    servers: { used: number; most: number };
    keys: { overTime: number; held: number };
    bodies: { usedBytes: number; mostBytes: number };
  };
  configuration: { generation: number; routers: number; services: number; middlewares: number; servers: number };
  queues: { count: number; waiting: number; most: number };
}

export interface Info {
  version: string;
  problems: Problem[];
  reload: {
    generation: number;
    inForce: number;
    failures: number;
    lastSuccess: string | number | null;
    lastFailure: string | number | null;
    refused: string[];
    kept: { kind: string; name: string; errors: string[] }[];
    last?: Change;
  };
  providers: Provider[];
  fleet: Fleet | null;
  certificates: Certificate[];
  certificatesTotal?: number;
  workers: { index: number; pid: number; state: string; generation: number }[];
  /** Null: another program decides about the log, or there is no ping, or another program ends the process. */
  log: LogLevel | null;
  ping: Ping | null;
  end: End | null;
  tls?: string;
  logLinesLost?: number;
  accessLogLinesLost?: number;
  connectionsShed?: number;
  features: {
    accessLog: boolean;
    metrics: string[];
    tracing: boolean;
    explain: boolean;
    ocsp: boolean;
    certificatesResolvers: string[];
  };
}

/** An active health check: when it ended (Unix time in ms), how long it took, why it failed. */
export interface LastCheck {
  at: number;
  ms: number;
  error?: string;
}

/** The highest number that a reading has seen, and the time of that reading. */
export interface Most {
  most: number;
  at: number;
}

export interface Maxima {
  inFlight?: Most;
  queue?: Most;
  rate?: Most;
  connections?: Most;
  connectionRate?: Most;
}

/** A page of the objects that have had anything. */
export interface MaximaPage {
  since: number;
  total: number;
  page: number;
  pages: number;
  items: { id: string; maxima: Maxima }[];
}

export interface History {
  id: string;
  interval: number;
  kept: boolean;
  times: number[];
  rate: (number | null)[];
  errors: (number | null)[];
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
  inFlight: (number | null)[];
  queue: (number | null)[];
  /** Of a server. */
  lastCheck?: LastCheck;
  maxima?: Maxima;
  maximaSince?: number;
  /** By middlewares, since the start. */
  denied?: number;
}
