/** The graph that a fabric is: networks of switches, joined by links; see port.ts for what joins guests to them. */

import type { DhcpResponder } from './dhcp.ts';
import type { Direction } from './direction.ts';
import type { Port } from './port.ts';
import type { RouteLink, Routes } from './routes.ts';

export interface Switch {
  name: string;
  /** Place in its network. */
  index: number;
  network: Network;
  /** In the order in which they joined. */
  ports: Port[];
}

export interface Network {
  /** Number in the fabric: part of the key under which addresses are found. */
  id: number;
  name: string;
  mtuBytes: number;
  switches: Switch[];
  links: RouteLink[];
  routes: Routes;
  /** Answers guests that ask for their address, at whichever switch they are. */
  dhcp: DhcpResponder | undefined;
}

/** A link between switches, or of a port. */
export interface Link {
  name: string;
  network: Network;
  out: Direction;
  in: Direction;
  port: Port | undefined;
}
