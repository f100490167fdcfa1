/** A guest's network interface, as it is planned. Which networks there are is the business of src/fabric/. */

/** One interface of a guest, as the guest and its driver see it. */
export interface InterfacePlan {
  /** Name of the network it is in. */
  network: string;
  /** Name in the guest: eth0, eth1… in the order of the networks in the spec. */
  name: string;
  /** Six bytes in hexadecimal, joined by colons. */
  mac: string;
  /** IPv4 address with its prefix length, such as 10.1.0.3/16. */
  address: string;
  mtuBytes: number;
}
